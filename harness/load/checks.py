"""Is an answer what was expected? Asked after the clock stopped."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jmespath

from harness.model import Expect

MAX_DECODED_BYTES = 256 << 20


def failed_checks(expect: Expect, status: int, body: bytes, encoding: str | None, too_large: bool) -> str | None:
    """Names of the checks that failed, comma-separated, e.g. "status,json:lines[0].text"; None when all held.

    `body` is as received; `encoding` its Content-Encoding. An empty `expect.status` means any 2xx.
    """
    failed: list[str] = []
    if not (status in expect.status if expect.status else 200 <= status < 300):
        failed.append("status")
    if too_large:
        failed.append("max_bytes")
    if expect.json:
        failed += _failed_json(expect, None if too_large else body, encoding)
    return ",".join(failed) or None


def _failed_json(expect: Expect, body: bytes | None, encoding: str | None) -> list[str]:
    try:
        document = json.loads(decoded(body or b"", encoding))
    except (ValueError, RecursionError):
        return [f"json:{path}" for path, _ in expect.json]
    return [f"json:{path}" for path, wanted in expect.json if not _holds(path, wanted, document)]


def _holds(path: str, wanted: object, document: Any) -> bool:
    try:
        found = _compiled(path).search(document)
    except (jmespath.exceptions.JMESPathError, RecursionError):
        return False
    if isinstance(wanted, str) and wanted.startswith("~ "):
        return isinstance(found, str | int | float) and _regex(wanted[2:]).search(str(found)) is not None
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and dict(found) == dict(wanted)
    if isinstance(wanted, tuple):
        wanted = list(wanted)
    # In JSON true is not 1, in Python it is.
    return found == wanted and isinstance(found, bool) == isinstance(wanted, bool)


@lru_cache(maxsize=256)
def _compiled(path: str) -> Any:
    return jmespath.compile(path)


@lru_cache(maxsize=256)
def _regex(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def decoded(body: bytes, encoding: str | None) -> bytes:
    """The body without its gzip or deflate coding. ValueError when broken, too large or coded otherwise."""
    coding = (encoding or "identity").strip().lower()
    if coding in {"identity", ""}:
        return body
    if coding not in {"gzip", "x-gzip", "deflate"}:
        raise ValueError(f"unknown content encoding {coding}")
    windows = (47,) if coding != "deflate" else (15, -15)  # deflate is sent with and without the zlib wrapper
    for window in windows:
        inflate = zlib.decompressobj(window)
        try:
            text = inflate.decompress(body, MAX_DECODED_BYTES)
        except zlib.error:
            continue
        if inflate.unconsumed_tail:
            raise ValueError("the decoded body exceeds 256 MiB")
        if not inflate.eof:
            raise ValueError("the compressed body is cut off")
        return text
    raise ValueError("the compressed body is broken")
