"""Tests reach nothing but this machine: a connection elsewhere is an error and fails the test that made it.

An audit hook sees every socket of this process, whatever library opened it. The stray is also kept, because
product code rightly swallows a provider's connection errors.
"""

import ipaddress
import sys
from typing import Any

strays: list[str] = []
_installed: list[bool] = []


class StrayConnectionError(OSError):
    """A test tried to leave the machine."""


def guard() -> None:
    """Installs the hook once for the process; there is no way to take an audit hook out again."""
    if not _installed:
        _installed.append(True)
        sys.addaudithook(_watch)


def _watch(name: str, arguments: tuple[Any, ...]) -> None:
    if name == "socket.connect":
        host = (
            arguments[1][0] if isinstance(arguments[1], tuple) else None
        )  # a path is a socket of this machine
    elif name in {"socket.getaddrinfo", "socket.gethostbyname"}:
        host = arguments[0]
    else:
        return
    if host is not None and not _is_local(host):
        strays.append(str(host))
        raise StrayConnectionError(f"a test may not leave this machine, it wanted to reach {host!r}")


def _is_local(host: str | bytes) -> bool:
    text = host.decode() if isinstance(host, bytes) else host
    if text in {"", "localhost", "0.0.0.0", "::"}:
        return True
    try:
        return ipaddress.ip_address(text.partition("%")[0]).is_loopback
    except ValueError:
        return False
