"""Any of Apprise's own SMS and e-mail plugins, one recipient at a time.

The object is built from the configured URL and a recipient of ours, never from a customer's address: that
is how it shows where it keeps its target. For each letter the address is put there, and read back before
anything is sent.

Reply codes exist only in the library's DEBUG log, which also holds bodies and numbers. It is captured for
one call, searched for a code, and dropped; nothing of it is stored or logged.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from apprise import Apprise, AppriseAsset, NotifyBase, NotifyFormat, plugins

from incident_center.delivery.outcome import Letter, Outcome
from incident_center.delivery.transports.http_answers import lost_words, may_have_taken
from incident_center.states import Channel

_LOGGER = logging.getLogger("apprise")
_url_to_dict: Any = plugins.url_to_dict  # the library has not annotated it
# A number for drama (Ofcom) and a documentation domain (RFC 2606): nothing is ever sent to them.
_PROBES = {Channel.SMS: "+447700900123", Channel.EMAIL: "recipient.probe@example.com"}
_READ_TIMEOUT, _CONNECT_TIMEOUT = 20.0, 5.0
_CODE = re.compile(r"error=([0-9]{3,6})\b")
# urllib3's words for "no connection was made": nothing has left the machine.
_NOT_CONNECTED = (
    "NewConnectionError",
    "ConnectTimeoutError",
    "NameResolutionError",
    "SSLCertVerificationError",
)
# Twilio answers with its own codes: the number cannot be reached, is no mobile, or has sent STOP.
_NO_SUCH_NUMBER = frozenset({21211, 21214, 21217, 21408, 21610, 21612, 21614})


class UnusablePlugin(ValueError):
    """A configured URL that cannot be used; the sentence says what to do and repeats nothing secret."""


def refuse_unknown(options: Collection[str], known: Collection[str]) -> None:
    """Raises UnusablePlugin for an option that is not known. A password with a bare ? has its rest read as options, so
    nothing is repeated then."""
    unknown = sorted(set(options) - set(known))
    if not unknown:
        return
    said = f"has an unknown option “{unknown[0]}”"
    if any(set("@:/") & set(option) for option in options):
        said = "has an unknown option, or a ? in the password that is not written as %3F"
    raise UnusablePlugin(f"{said}; known: {', '.join(sorted(known))}")


def quiet_asset() -> AppriseAsset:
    """Sequential, without the library's thread pool, its own retries, redirects, or files."""
    return AppriseAsset(
        async_mode=False, service_timeout=0, storage_mode="memory", http_redirects=False, secure_logging=True
    )


def quiet_logger() -> None:
    """Keeps the library's records out of the product's log: they hold message bodies, numbers and tokens."""
    _LOGGER.propagate = False
    logging.getLogger("urllib3").setLevel(logging.INFO)  # its DEBUG records hold paths, and some paths tokens
    if not _LOGGER.handlers:
        _LOGGER.addHandler(logging.NullHandler())


def option_names(url: str) -> list[str]:
    """The options of a URL as the library reads them: it also parts them at semicolons and reads on behind a #.

    Empty for a URL that the library does not know.
    """
    parsed: dict[str, Any] = _url_to_dict(url) or {}
    return [str(name).lower() for name in parsed.get("qsd") or {}]


@contextmanager
def _listening() -> Iterator[None]:
    """DEBUG for one call, so that its capture sees the reply code; at other times the records are not even
    made."""
    before = _LOGGER.level
    _LOGGER.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        _LOGGER.setLevel(before)


class StockPlugin:
    """One object of one of Apprise's plugins, to which one address at a time is given."""

    def __init__(self, url: str, channel: Channel) -> None:
        """Raises UnusablePlugin for a URL that Apprise cannot read or that names recipients itself."""
        quiet_logger()
        self._probe = _PROBES[channel]
        self._email = channel is Channel.EMAIL
        self.service = _build(url, self._probe)
        if channel is Channel.SMS and (_is_a_group(url) or not _writes_to_phones(self.service)):
            raise UnusablePlugin("does not write to phone numbers; use one of Apprise's SMS services")
        self._attribute, self._shape = _find_target(self.service, self._probe)
        self._apprise = Apprise(asset=quiet_asset())
        self._apprise.add(self.service)

    def deliver(self, letter: Letter) -> Outcome:
        """Hands over one letter. Never raises for what a provider or a network does."""
        self._aim(letter.to)
        try:
            return self._notify(letter)
        finally:
            setattr(self.service, self._attribute, [])

    def _aim(self, address: str) -> None:
        """Puts the address in, and reads back that it is the only one and the right one."""
        setattr(self.service, self._attribute, [_with_address(self._shape, self._probe, address)])
        found = list(_addresses(getattr(self.service, self._attribute)))
        expected = address if self._email else address.lstrip("+")
        if [one if self._email else one.lstrip("+") for one in found] != [expected]:
            raise AssertionError("the plugin does not hold the one address that it was given")

    def _notify(self, letter: Letter) -> Outcome:
        takes_html = self._email and self.service.resolve_format(NotifyFormat.HTML) == NotifyFormat.HTML
        html = letter.html if takes_html else None
        with (
            _listening(),
            self._apprise.notify(
                body=html or letter.text,
                title=letter.subject or "",
                body_format=NotifyFormat.HTML if html else None,
                tag=None,
                log_level=logging.DEBUG,
            ) as result,
        ):
            if result:
                return Outcome(state="accepted", code="2xx")
            return read_failure(entry.message for entry in result.logs())


def read_failure(lines: Iterable[str]) -> Outcome:
    """What a failed call of a plugin means, from the log lines of that call."""
    code: int | None = None
    connected, spoke = True, False
    for line in lines:
        if found := _CODE.search(line):
            code = int(found.group(1))
        if "Socket Exception" in line or "onnection error" in line:
            spoke = True
        if any(name in line for name in _NOT_CONNECTED):
            connected = False
    if not connected:
        return Outcome(
            state="retry", code="connect", detail="the provider could not be reached", provider_wide=True
        )
    if code is not None:
        return _by_code(code)
    if spoke:
        words = "the connection ended before the provider answered"
        return Outcome(state="unknown", code="lost", detail=words)
    words = "the plugin gave no reason; it may or may not have been sent"
    return Outcome(state="unknown", code="no-code", detail=words)


def _by_code(code: int) -> Outcome:
    named = str(code)
    if code in _NO_SUCH_NUMBER:
        return Outcome(state="failed", code=named, detail="the provider does not deliver to this number")
    if may_have_taken(code):
        return Outcome(state="unknown", code=named, detail=lost_words(code))
    if code in {400, 406, 409, 410, 413, 422}:
        return Outcome(state="failed", code=named, detail="the provider refused this message")
    if 200 <= code < 300:
        return Outcome(state="retry", code=named, detail="the provider answered, and said no")
    busy = code in {408, 425, 429} or 500 <= code < 1000
    words = (
        "the provider is busy" if busy else "the provider refuses us: check the URL, the key and the account"
    )
    return Outcome(state="retry", code=named, detail=words, provider_wide=True)


def _build(url: str, probe: str) -> NotifyBase:
    parsed: dict[str, Any] | None = _url_to_dict(url)
    if parsed is None:
        raise UnusablePlugin("is no URL that Apprise knows; see its list of services")
    if any(parsed.get("targets") or ()):
        raise UnusablePlugin("already names a recipient; leave it out, each customer is written to alone")
    service = Apprise.instantiate({**parsed, "targets": [probe]}, asset=quiet_asset())
    if not isinstance(service, NotifyBase):
        raise UnusablePlugin("cannot be used by Apprise; compare it with the service's page")
    service.request_rate_per_sec = 0
    service.socket_read_timeout = max(service.socket_read_timeout, _READ_TIMEOUT)
    service.socket_connect_timeout = max(service.socket_connect_timeout, _CONNECT_TIMEOUT)
    # SparkPost's would sleep for 5 s and try again by itself, twice, whenever it is told to slow down.
    vars(service)["sparkpost_retry_attempts"] = 1
    return service


def _is_a_group(url: str) -> bool:
    """DingTalk posts into a group and only mentions the number there: everybody would read it."""
    return url.lower().startswith("dingtalk:")


def _writes_to_phones(service: NotifyBase) -> bool:
    tokens: dict[str, Any] = service.template_tokens
    return any("target" in name and "phone" in name for name in tokens)


def _find_target(service: NotifyBase, probe: str) -> tuple[str, Any]:
    """Where the object keeps its recipients, and how it writes one."""
    holders = [
        (name, list(value))
        for name, value in vars(service).items()
        if isinstance(value, list | tuple) and any(_holds(entry, probe) for entry in value)
    ]
    if len(holders) != 1:
        raise UnusablePlugin("does not send to one chosen recipient; use another service")
    name, entries = holders[0]
    if len(entries) != 1:
        raise UnusablePlugin("already names a recipient; leave it out, each customer is written to alone")
    return name, entries[0]


def _holds(entry: Any, probe: str) -> bool:
    if isinstance(entry, str):
        return probe.lstrip("+") in entry
    return isinstance(entry, list | tuple) and any(_holds(part, probe) for part in entry)


def _with_address(shape: Any, probe: str, address: str) -> Any:
    if isinstance(shape, str):
        return shape.replace(probe, address).replace(probe.lstrip("+"), address.lstrip("+"))
    if isinstance(shape, list | tuple):
        return type(shape)(_with_address(part, probe, address) for part in shape)
    return shape


def _addresses(value: Any) -> Iterable[str]:
    """The strings in a target that are addresses, and not the name or the mode beside one."""
    if isinstance(value, str):
        if "@" in value or value.lstrip("+").isdigit():
            yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _addresses(part)


class StaffUrl:
    """One of the crisis team's URLs, any service, with whatever recipients it names."""

    def __init__(self, url: str) -> None:
        quiet_logger()
        service = Apprise.instantiate(url, asset=quiet_asset())
        if not isinstance(service, NotifyBase):
            raise UnusablePlugin("is no URL that Apprise can use; compare it with the service's page")
        self._apprise = Apprise(asset=quiet_asset())
        self._apprise.add(service)

    def tell(self, subject: str, text: str) -> Outcome:
        with (
            _listening(),
            self._apprise.notify(
                body=text, title=subject, body_format=NotifyFormat.TEXT, tag=None, log_level=logging.DEBUG
            ) as result,
        ):
            if result:
                return Outcome(state="accepted", code="2xx")
            return read_failure(entry.message for entry in result.logs())


Teller = Callable[[str, str], Outcome]
