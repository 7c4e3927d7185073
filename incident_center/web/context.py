"""What every view needs: the center and the shields."""

from ipaddress import IPv4Address, ip_address

from flask import current_app, request
from flask_limiter import Limiter
from flask_wtf.csrf import CSRFProtect

from incident_center.center import Center

IPV6_LINE = 64  # bits that name a line; within it anybody may pick from 2**64 addresses


def place() -> str:
    """Where a request comes from, as limits count it: an IPv4 address, or the network of an IPv6 line."""
    return place_of(request.remote_addr or "127.0.0.1")


def place_of(address: str) -> str:
    """Pure. What is no address stays as it is: a proxy may put a name there."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(type(found)(int(found) >> IPV6_LINE << IPV6_LINE))


csrf = CSRFProtect()
limiter = Limiter(place)


def center() -> Center:
    """Settings, database and house of the running application."""
    found: Center = current_app.extensions["incident_center"]
    return found
