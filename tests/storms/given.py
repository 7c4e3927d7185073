"""What a nursery is given: the installation that its workers belong to, and what is shortened for them."""

import json
import signal
from dataclasses import asdict, dataclass

ENDS = frozenset({signal.SIGTERM, signal.SIGINT})  # what tells a child to end


@dataclass(frozen=True)
class Given:
    """`lease` and `resend_after` in seconds, None for the product's own."""

    database_url: str
    data_dir: str
    email_url: str = ""
    sms_url: str = ""
    chunk: int = 40
    lease: float | None = None
    resend_after: float | None = None
    trouble_seconds: float = 0.1
    web: bool = False  # children serve pages, too

    def as_argument(self) -> str:
        return json.dumps(asdict(self))
