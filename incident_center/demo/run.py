"""Everything in one process: web, worker and mailbox on one embedded database, on this machine alone."""

import secrets
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from incident_center import clock, create_app
from incident_center.center import Center, build_center
from incident_center.config import demo_settings
from incident_center.demo.seed import seed
from incident_center.errors import Flaw, Refused
from incident_center.schema import upgrade
from incident_center.staff.tokens import add_token
from incident_center.worker import Worker, lanes_of

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 8080


class _QuietHandler(WSGIRequestHandler):
    """Requests are told by the product's own log; werkzeug's would print each a second time."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


def run_demo(*, port: int, data_dir: Path, tell: Callable[[str], None]) -> None:
    """Serves until Ctrl-C or SIGTERM. `tell` gets one `name: value` line at a time. Raises Refused for a busy port."""
    data_dir.mkdir(parents=True, exist_ok=True)
    port = _free_port() if port == 0 else port
    center = build_center(demo_settings(data_dir=data_dir, port=port, secret_key=_secret(data_dir)))
    upgrade(center.database, center.settings.migrations_dir)
    server = _server(center, port)
    worker = Worker(center, lanes=lanes_of(center.settings))
    beside = threading.Thread(target=worker.run, name="worker")
    _end_on_signals(server)
    beside.start()
    try:
        _introduce(center, tell)
        server.serve_forever()
    finally:
        worker.stop.set()
        beside.join()
        server.server_close()
        center.database.dispose()


def _server(center: Center, port: int) -> BaseWSGIServer:
    app = create_app(center=center)
    try:
        return make_server(LOOPBACK, port, app, threaded=True, request_handler=_QuietHandler)
    except (OSError, SystemExit) as error:
        raise Refused(
            Flaw("--port", "busy", f"Port {port} is in use. Choose another: --port 8081")
        ) from error


def _introduce(center: Center, tell: Callable[[str], None]) -> None:
    now = clock.now()
    with center.database.transaction() as session:
        people = seed(session, now=now)
        token = add_token(session, name="demo", role="lead", days=30, by="demo", now=now)
    url = center.settings.public_url
    tell(f"url: {url}/")
    tell(f"console: {url}/console/")
    tell(f"agent page: {url}/agent/")
    tell(f"mailbox: {url}/mailbox")
    for role, (email, password) in people.items():
        tell(f"{role} e-mail: {email}")
        tell(f"{role} password: {password}")
    tell(f"api token: {token}")
    tell(f"data: {center.settings.data_dir}")
    tell("listens on: 127.0.0.1 only; nothing leaves this machine")


def _end_on_signals(server: BaseWSGIServer) -> None:
    def end(*_: object) -> None:
        threading.Thread(target=server.shutdown).start()  # from this thread it would wait for itself

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, end)


def _secret(data_dir: Path) -> str:
    """Kept in the data folder, so that links in the mailbox still work after a restart."""
    file = data_dir / "secret"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(48), encoding="ascii")
    return file.read_text(encoding="ascii").strip()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
