"""twilio://, vonage:// and smpp(s)://: what these URLs may say, and what is refused with a sentence that helps."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from incident_center.delivery.transports.http_line import HttpServer
from incident_center.delivery.transports.http_sms import ReceiptUrls, SmsApi
from incident_center.delivery.transports.smpp_link import SmppServer
from incident_center.delivery.transports.stock import UnusablePlugin, refuse_unknown
from incident_center.delivery.transports.twilio import TWILIO_SERVER, TwilioApi
from incident_center.delivery.transports.vonage import VONAGE_SERVER, VonageApi

TWILIO, VONAGE, SMPP = "twilio", frozenset({"vonage", "nexmo"}), frozenset({"smpp", "smpps"})
OWN_SMS = frozenset({TWILIO, *VONAGE, *SMPP})

_NUMBER = re.compile(r"\+?[0-9][0-9 ()-]{1,22}")
_NAME = re.compile(
    r"(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9 ]{1,11}"
)  # an alphanumeric sender has at least one letter
_SERVICE = re.compile(r"MG[0-9a-fA-F]{32}")
_ACCOUNT = re.compile(r"AC[0-9a-fA-F]{8,64}")
_API_KEY = re.compile(r"SK[0-9a-fA-F]{8,64}")
_WORD = re.compile(r"[!-~]{1,128}")
_SHORT_CODE = range(3, 7)  # digits
# SMPP 3.4 §5.2: the fields' lengths without the closing zero.
_USER_MAX, _PASSWORD_MAX, _TYPE_MAX = 15, 8, 12


def twilio_api(
    url: str, *, clock: Callable[[], datetime], stub: bool = False, receipts: ReceiptUrls | None = None
) -> TwilioApi:
    """Reads twilio://SID:TOKEN@FROM or twilio://SID:KEY_SECRET@FROM?apikey=SK…

    FROM is a number, a short code, a name, or a Messaging Service (MG…). `stub` allows `api=https://host:port`.
    Raises UnusablePlugin.
    """
    parts = _parts(url)
    options = _options(parts, {"apikey", "from", "method"}, stub=stub)
    account, secret, host = _login(parts)
    _no_targets(parts.path)
    if options.get("method", "sms").lower() != "sms":
        raise UnusablePlugin("has an odd method; only texts are sent, no calls")
    if not _ACCOUNT.fullmatch(account):
        raise UnusablePlugin("needs the Account SID (AC…) before the colon")
    key = options.get("apikey")
    if key is not None and not _API_KEY.fullmatch(key):
        raise UnusablePlugin("has an odd apikey; it begins with SK")
    sender = options.get("from") or host
    return TwilioApi(
        account=account,
        key=key or account,
        secret=secret,
        sender=sender if _SERVICE.fullmatch(sender) else _sender(sender, plus=True),
        clock=clock,
        server=_server(options, TWILIO_SERVER),
        receipts=receipts,
    )


def vonage_api(
    url: str, *, clock: Callable[[], datetime], stub: bool = False, receipts: ReceiptUrls | None = None
) -> VonageApi:
    """Reads vonage://KEY:SECRET@FROM; FROM is a number or a name. Raises UnusablePlugin."""
    parts = _parts(url)
    options = _options(parts, {"from"}, stub=stub)
    key, secret, host = _login(parts)
    _no_targets(parts.path)
    return VonageApi(
        key=key,
        secret=secret,
        sender=_sender(options.get("from") or host, plus=False),
        clock=clock,
        server=_server(options, VONAGE_SERVER),
        receipts=receipts,
    )


def smpp_server(url: str) -> SmppServer:
    """Reads smpp(s)://USER:PASSWORD@HOST:PORT/FROM?system_type=…&ids=hex Raises UnusablePlugin."""
    parts = _parts(url)
    options = _options(parts, {"from", "system_type", "ids"}, stub=False)
    user, password, _ = _login(parts)
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UnusablePlugin("has no usable port") from error
    if not host:
        raise UnusablePlugin("names no host")
    first, _, more = parts.path.strip("/").partition("/")
    _no_targets(more if "from" not in options else parts.path)
    system_type = options.get("system_type", "")
    if len(user) > _USER_MAX or len(password) > _PASSWORD_MAX or len(system_type) > _TYPE_MAX:
        raise UnusablePlugin(
            f"has a login that SMPP cannot carry: user {_USER_MAX}, password {_PASSWORD_MAX}, system_type"
            f" {_TYPE_MAX} characters at most"
        )
    if not system_type.isascii():
        raise UnusablePlugin("has an odd system_type")
    if options.get("ids", "hex") != "hex":
        raise UnusablePlugin("has odd ids; the only word for them is hex")
    secure = parts.scheme.lower() == "smpps"
    return SmppServer(
        host=host,
        port=port or (3550 if secure else 2775),
        user=user,
        password=password,
        sender=_sender(options.get("from") or unquote(first), plus=True),
        system_type=system_type,
        hex_ids="ids" in options,
        tls=secure,
    )


def own_api(
    schema: str, url: str, *, clock: Callable[[], datetime], stub: bool, receipts: ReceiptUrls | None
) -> SmsApi:
    read = twilio_api if schema == TWILIO else vonage_api
    return read(url, clock=clock, stub=stub, receipts=receipts)


def _parts(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise UnusablePlugin("cannot be read") from error


def _options(parts: SplitResult, known: set[str], *, stub: bool) -> dict[str, str]:
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    options = {name.lower(): value for name, value in pairs}
    refuse_unknown(options, known | {"rate", "connections"} | ({"api"} if stub else set()))
    if len(options) < len(pairs) or parts.fragment:
        raise UnusablePlugin("carries an option twice, or a #")
    return options


def _login(parts: SplitResult) -> tuple[str, str, str]:
    """User, password, and the sender in the host's place; `hostname` would turn a name into small letters."""
    login, _, host = parts.netloc.rpartition("@")
    user, _, secret = (unquote(part) for part in login.partition(":"))
    if not _WORD.fullmatch(user) or not _WORD.fullmatch(secret):
        raise UnusablePlugin("needs a user and a secret before the @, separated by a colon")
    return user, secret, unquote(host)


def _no_targets(path: str) -> None:
    if path.strip("/"):
        raise UnusablePlugin("already names a recipient; leave it out, each customer is written to alone")


def _sender(sender: str, *, plus: bool) -> str:
    if _NAME.fullmatch(sender):
        return sender
    digits = re.sub(r"[^0-9]", "", sender)
    if not _NUMBER.fullmatch(sender) or not 3 <= len(digits) <= 15:
        raise UnusablePlugin("needs a sender: a number, a short code, or a name of up to 11 letters")
    return f"+{digits}" if plus and len(digits) not in _SHORT_CODE else digits


def _server(options: dict[str, str], default: HttpServer) -> HttpServer:
    if "api" not in options:
        return default
    parts = _parts(options["api"])
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UnusablePlugin("has an odd api; write https://host:port") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise UnusablePlugin("has an odd api; write https://host:port")
    tls = parts.scheme == "https"
    return HttpServer(host, port or (443 if tls else 80), tls=tls)
