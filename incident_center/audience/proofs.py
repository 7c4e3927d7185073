"""What proves that an address is its owner's: link tokens and codes, of which only keyed hashes are kept."""

import hashlib
import hmac
import secrets
import unicodedata

from itsdangerous import BadSignature, URLSafeSerializer

from incident_center.errors import NotThere
from incident_center.house import House

CODE_DIGITS = 6
_PAGE_SALT = "confirmation page"


def new_token() -> str:
    """For a link: 256 random bits, which nobody guesses."""
    return secrets.token_urlsafe(32)


def new_code() -> str:
    """For a text message: six digits; safe only because tries are counted."""
    return f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}d}"


def token_hash(house: House, token: str) -> str:
    return _keyed(house, f"link:{token}")


def code_hash(house: House, address: str, code: str) -> str:
    """Bound to the address, so that a code is worth nothing for another one."""
    return _keyed(house, f"code:{address}:{code}")


def read_code(typed: str) -> str | None:
    """The six digits, however they were typed (blanks, hyphens, other scripts' digits); None if they are not six."""
    digits = [str(unicodedata.digit(letter)) for letter in typed[:40] if letter.isdigit()]
    rest = [letter for letter in typed if not letter.isdigit() and letter not in " -\u00a0\t"]
    return "".join(digits) if len(digits) == CODE_DIGITS and not rest else None


def page_token(house: House, confirmation_id: int) -> str:
    """Names the page on which a code is entered; signed, so that nobody walks through other people's."""
    return str(_signer(house).dumps(confirmation_id))


def read_page_token(house: House, token: str) -> int:
    """The confirmation's id; NotThere when the token is not ours."""
    try:
        confirmation_id = _signer(house).loads(token)
    except BadSignature as error:
        raise NotThere("There is no such page.") from error
    return int(confirmation_id)


def _signer(house: House) -> URLSafeSerializer:
    return URLSafeSerializer(house.settings.secret_key, salt=_PAGE_SALT)


def _keyed(house: House, text: str) -> str:
    return hmac.new(
        house.settings.secret_key.encode(), text.encode("utf-8", "replace"), hashlib.sha256
    ).hexdigest()
