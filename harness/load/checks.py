"""Is an answer what was expected? Asked after the clock stopped.

A `python:` check is a function of one argument, a Checked. It returns None, True or "" when the answer is fine, and
False or a text that says what is wrong when it is not. An exception is a failed check too, and so is anything else that
it returns: a dict or a number says nothing. Texts and tracebacks go to the log of the load process, each once.
"""

from __future__ import annotations

import json
import sys
import traceback
import zlib
from functools import cached_property, lru_cache
from typing import Any

import jmespath
import numpy as np
from gevent import GreenletExit

from harness.load.python_file import function_of
from harness.model import Expect
from harness.scenario.wanted import wanted_test

MAX_DECODED_BYTES = 256 << 20
_MOST_SAID = 50
_said: set[str] = set()


class Checked:
    """An answer as a `python:` check sees it: `.status`, `.body`, `.text`, `.json()`.

    `.body` is without its gzip or deflate coding. ValueError where the body is not what was asked for.
    """

    def __init__(self, status: int, raw: bytes, encoding: str | None) -> None:
        self.status = status
        self._raw = raw
        self._encoding = encoding

    @cached_property
    def body(self) -> bytes:
        """The bytes of the answer."""
        return decoded(self._raw, self._encoding)

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode("utf-8", "replace")

    @cached_property
    def _document(self) -> Any:
        return json.loads(self.body)

    def json(self) -> Any:
        """The body as JSON; all checks share it, so it is not to be changed."""
        return self._document


def failed_checks(expect: Expect, status: int, body: bytes, encoding: str | None, too_large: bool) -> str | None:
    """Names of the checks that failed, comma-separated, e.g. "status,json:lines[0].text"; None when all held. Raises
    GreenletExit when the session is ended while a check waits for something.

    `body` is as received; `encoding` its Content-Encoding. An empty `expect.status` means any 2xx. The Python check
    is asked only about an answer of an expected status: of another one the status says enough.
    """
    failed: list[str] = []
    if not (status in expect.status if expect.status else 200 <= status < 300):
        failed.append("status")
    if too_large:
        failed.append("max_bytes")
    if expect.json or expect.python:
        answer = None if too_large else Checked(status, body, encoding)  # a cut answer holds nothing
        failed += _failed_json(expect, answer)
        if expect.python and "status" not in failed:
            implausible = "" if answer is None else _implausible(expect.python, answer)
            if implausible is not None:
                failed.append(f"python:{expect.python.rpartition(':')[2]}{implausible}")
    return ",".join(failed) or None


def _failed_json(expect: Expect, answer: Checked | None) -> list[str]:
    if not expect.json:
        return []
    try:
        document = {} if answer is None else answer.json()
    except (ValueError, RecursionError):
        answer = None
    if answer is None:
        return [f"json:{path}" for path, _ in expect.json]
    return [f"json:{path}" for path, wanted in expect.json if not _holds(path, wanted, document)]


def _holds(path: str, wanted: object, document: Any) -> bool:
    try:
        return wanted_test(wanted)(_compiled(path).search(document))
    except Exception:  # jmespath lets through what Python raises: OverflowError for ceil of Infinity, and more
        return False


@lru_cache(maxsize=256)
def _compiled(path: str) -> Any:
    return jmespath.compile(path)


def _implausible(named: str, answer: Checked) -> str | None:
    """None when the user's function finds nothing wrong; else what to add to its name: that it raised, what it
    returned that says nothing, or nothing."""
    name = named.rpartition(":")[2]
    try:
        said = function_of(named)(answer)
    except BaseException as error:  # user code may raise anything: sys.exit in a check must not end the run
        if isinstance(error, GreenletExit) and _thrown_in(error):
            raise
        if _first_time(f"{named} {type(error).__name__}"):
            sys.stderr.write(f"the check python:{name} failed: {traceback.format_exc()}")
        return f" raised {type(error).__name__}"
    if said is None:
        return None
    if isinstance(said, str):
        if said and _first_time(f"{named} {said}"):
            sys.stderr.write(f"python:{name}: {' '.join(said.split())[:500]}\n")
        return "" if said else None
    if isinstance(said, bool | np.bool_):
        return None if said else ""
    return f" returned {type(said).__name__}"


def _thrown_in(error: BaseException) -> bool:
    """Whether another greenlet threw it into one that waited, rather than the code itself raised it."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return at is not None and str(at.tb_frame.f_globals.get("__name__")).startswith("gevent.")


def _first_time(words: str) -> bool:
    if words in _said or len(_said) >= _MOST_SAID:
        return False
    _said.add(words)
    return True


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
