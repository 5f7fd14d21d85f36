"""The base address that requests go to."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from harness.errors import UsageError
from harness.units import quoted

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})")


def parse_target(text: str) -> str:
    """A base URL without a trailing slash: http or https, a host, maybe a port and a path. Raises UsageError."""
    url = text.strip()
    if not url.isascii() or any(c.isspace() or not c.isprintable() for c in url):
        raise UsageError(f"{quoted(url)} is not a URL", "blanks and letters beyond ASCII must be percent-encoded")
    if "@" in url.split("?")[0].split("#")[0]:  # not quoted back: it holds a password
        raise UsageError(
            "a user name or password in the URL would end up in every report",
            'send it as a header and take it from the environment: headers: {Authorization: "Bearer ${API_TOKEN}"}',
        )
    if "://" not in url:
        raise UsageError(f"{quoted(url)} has no http:// or https:// in front", f"write {_example(url)}")
    scheme, rest = url.split("://", 1)
    if scheme.lower() not in ("http", "https"):
        hint = "gRPC is not supported yet" if scheme.lower().startswith("grpc") else "write http://... or https://..."
        raise UsageError(f"scheme {quoted(scheme)} is not supported: the target speaks http or https", hint)
    for sign, name in (("?", "a query"), ("#", "a fragment")):
        if sign in rest:
            base = url.split("?")[0].split("#")[0]
            raise UsageError(
                f"a base URL cannot have {name} ({quoted(sign)})", f"write {base}; a query belongs in params:"
            )
    host, port, path = _parts(url)
    address = f"[{host}]" if ":" in host else host
    return f"{scheme.lower()}://{address}{'' if port is None else f':{port}'}{path.rstrip('/')}"


def host_of(target: str) -> str:
    """The host of a target that parse_target accepted, without brackets."""
    return urlsplit(target).hostname or ""


def is_loopback(host: str) -> bool:
    """Whether requests to this host stay on this machine, as far as its name tells: nothing is looked up."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_listen(text: str) -> str | None:
    """An address to listen on, "HOST:PORT"; None for "none". Port 0 lets the system choose. Raises UsageError."""
    address = text.strip()
    if address == "none":
        return None
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):([0-9]{1,5})", address)
    if match is None or int(match[2]) > 65535:
        raise UsageError(f"{quoted(address)} is not an address to listen on", "write 127.0.0.1:4318, or none")
    return address


def _parts(url: str) -> tuple[str, int | None, str]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise UsageError(f"{quoted(url)} is not a URL: {error}", "write http://HOST:PORT") from None
    if not host:
        raise UsageError(f"{quoted(url)} names no host", "write http://127.0.0.1:8000 or another host")
    if port == 0 or (port is None and parts.netloc.endswith(":")):
        raise UsageError(f"{quoted(url)} has no usable port", "write the number the service listens on")
    if ":" not in host and not _HOST.fullmatch(host):
        raise UsageError(f"{quoted(host)} is not a host name", "letters, digits, dots and dashes only")
    return host, port, parts.path


def _example(url: str) -> str:
    return f"http://{url.lstrip('/')}" if re.match(r"/{0,2}[A-Za-z0-9\[]", url) else "http://127.0.0.1:8000"
