"""Request specs -> request bytes, built once per payload: only the trace context changes from send to send."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import gevent
import numpy as np

from harness import __version__
from harness.errors import ScenarioError
from harness.load.bodies import body_of, choices, made_body
from harness.load.bodies import guess_type as guess_type
from harness.load.bodies import multipart as multipart
from harness.load.python_file import function_of
from harness.load.wire import Terms
from harness.model import Expect, RequestSpec

IN_MEMORY_BYTES = 256 << 20  # all payload files together; beyond that they are read when drawn
IN_MEMORY_PAYLOADS = 4096
_JOIN_BYTES = 1 << 16  # a body up to this size goes out in one write with its head
_BLOCK = 8192
_READ_AT_ONCE = 1 << 16  # takes a disk no longer than a switch of threads
_OURS = {"traceparent", "x-mlharness-run", "content-length", "transfer-encoding"}
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Kind:
    """What all payloads of one kind of request share."""

    name: str
    method: str
    terms: Terms
    expect: Expect


@dataclass(frozen=True, slots=True)
class Payload:
    """Request bytes around the trace context: `head` + traceparent + `tail`, then `body` when it is a large one."""

    kind: Kind
    head: bytes
    tail: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class PayloadSet:
    """All payloads of one kind: `size` of them, `get(i)` gives one.

    `make(seed, request_id)` gives that of a request instead, when a function makes them. `unseen` is the kind of the
    requests whose answers are not looked at, when that is a sample.
    """

    kind: Kind
    size: int
    get: Callable[[int], Payload]
    make: Callable[[int, int], Payload] | None = None
    unseen: Kind | None = None


def payload_of(kind: Kind, url: str, headers: Iterable[Pair], body: bytes | None, content_type: str | None) -> Payload:
    """Assemble the bytes. `url` is absolute; user headers replace ours except those that make the measurement."""
    parts = urlsplit(url)
    own = {
        "Host": parts.netloc.rpartition("@")[2],
        "User-Agent": f"ml-harness/{__version__}",
        "Accept": "*/*",
    }
    if content_type is not None:
        own["Content-Type"] = content_type
    given = list(headers)
    replaced = {name.lower() for name, _ in given}
    lines = [(n, v) for n, v in own.items() if n.lower() not in replaced]
    lines += [(name, value) for name, value in given]
    if body is not None or kind.method in {"POST", "PUT", "PATCH"}:
        lines.append(("Content-Length", str(len(body or b""))))
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._") + (f"?{parts.query}" if parts.query else "")
    head = f"{kind.method} {target} HTTP/1.1\r\n".encode("latin-1", "replace")
    head += b"".join(_header_line(n, v) for n, v in lines) + b"traceparent: "
    return with_body(kind, head, body or b"")


def with_body(kind: Kind, head: bytes, body: bytes) -> Payload:
    """The payload of a finished `head`, whose Content-Length is that of `body`."""
    joined = len(body) <= _JOIN_BYTES
    return Payload(kind, head, b"\r\n\r\n" + (body if joined else b""), b"" if joined else body)


def _header_line(name: str, value: str) -> bytes:
    if not name or any(c in "\r\n:\0 " for c in name) or any(c in "\r\n\0" for c in value):
        raise ScenarioError(f"the header {name!r} cannot be sent", "names and values are one line of text each")
    try:
        return f"{name}: {value}\r\n".encode("latin-1")
    except UnicodeEncodeError:
        return f"{name}: {value}\r\n".encode()


def run_headers(run_id: str) -> list[Pair]:
    """Headers that tell a server what it is seeing and how to recognise the run."""
    agent = f"ml-harness/{__version__} (load test {run_id}; ends with Ctrl-C where it was started)"
    return [("User-Agent", agent), ("x-mlharness-run", run_id)]


def with_user_headers(base: Iterable[Pair], users: Iterable[Pair]) -> list[Pair]:
    """The user's headers replace `base` ones of the same name. Raises ScenarioError for the ones we must set."""
    given = list(users)
    for name, _ in given:
        if name.lower() in _OURS:
            raise ScenarioError(f"the header {name!r} is set by the harness", "leave it out of the scenario")
    taken = {name.lower() for name, _ in given}
    return [pair for pair in base if pair[0].lower() not in taken] + given


# --- sets and draws ----------------------------------------------------------------------------------------


def payload_sets(requests: Sequence[RequestSpec], target: str, run_id: str) -> list[PayloadSet]:
    """One set per kind of request. Raises ScenarioError for a file that cannot be read, or not be imported."""
    paths = {p for r in requests for choice in choices(r.body) for p in choice}
    small = sum(_size(p) for p in paths) <= IN_MEMORY_BYTES
    files = {p: _read(p) for p in paths} if small else {}
    for named in {n for r in requests for n in (r.body.python, r.expect.python) if n is not None}:
        function_of(named)  # so that a file that cannot be imported is known before the first request
    return [_payload_set(r, target, run_id, files.__getitem__ if small else _read_aside, small) for r in requests]


def _payload_set(r: RequestSpec, target: str, run_id: str, read: Callable[[str], bytes], in_memory: bool) -> PayloadSet:
    kind, unseen = _kind_of(r, r.expect), None
    if r.expect.sampled < 1.0:
        unseen = _kind_of(r, replace(r.expect, json=(), python=None))
    url = joined_url(target, r.path, r.params)
    headers = with_user_headers(run_headers(run_id), r.headers)
    drawn_from = choices(r.body)
    size = math.prod(len(c) for c in drawn_from)

    def build(index: int) -> Payload:
        drawn = []
        for choice in drawn_from:
            index, own = divmod(index, len(choice))
            drawn.append(choice[own])
        return payload_of(kind, url, headers, *body_of(r.body, drawn, read))

    if (named := r.body.python) is not None:

        def make(seed: int, request_id: int) -> Payload:
            return payload_of(kind, url, headers, *made_body(named, seed, request_id))

        return PayloadSet(kind, size, build, make, unseen)
    if in_memory and size <= IN_MEMORY_PAYLOADS and _bytes_of_all(drawn_from, size, read) <= IN_MEMORY_BYTES:
        built = [build(i) for i in range(size)]
        return PayloadSet(kind, size, built.__getitem__, unseen=unseen)
    return PayloadSet(kind, size, build, unseen=unseen)


def _kind_of(r: RequestSpec, expect: Expect) -> Kind:
    keep_body = bool(expect.json or expect.python)
    return Kind(r.name, r.method, Terms(r.timeout_s, expect.max_bytes, r.method == "HEAD", keep_body), expect)


def _bytes_of_all(drawn_from: Sequence[Sequence[str]], size: int, read: Callable[[str], bytes]) -> int:
    # A field with k files appears size / k times with each of them.
    return sum(len(read(p)) * size // len(choice) for choice in drawn_from for p in choice)


def joined_url(target: str, path: str, params: Sequence[Pair] = ()) -> str:
    """`path` under the target's own path; an absolute URL stays as it is. `params` are added to its query."""
    url = path if "://" in path.split("?")[0] else target.rstrip("/") + "/" + path.lstrip("/")
    if params:
        url += ("&" if "?" in url else "?") + urlencode(params)
    return url.split("#")[0]


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError as error:
        raise ScenarioError(f"cannot read the payload {path}: {error.strerror}", "check the path") from None


def _read(path: str) -> bytes:
    return _or_raised(path, _content(path))


def _content(path: str) -> bytes | OSError:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        return error


def _read_aside(path: str) -> bytes:
    """Read a file while the run is on: one that may take a while is read by a thread, and the others go on."""
    if _size(path) <= _READ_AT_ONCE:
        return _read(path)
    # An error comes back as a value: the thread pool would print it.
    return _or_raised(path, gevent.get_hub().threadpool.apply(_content, (path,)))


def _or_raised(path: str, content: bytes | OSError) -> bytes:
    if isinstance(content, OSError):
        raise ScenarioError(f"cannot read the payload {path}: {content.strerror}", "check the path") from None
    return content


class Draws:
    """Which payload each request of a run sends: decided by the seed and the request's id, whoever sends it, whenever.

    `weights` are those of the sets; a request may be told its set (`kind`), then only the payload is drawn.
    """

    def __init__(self, sets: Sequence[PayloadSet], weights: Sequence[float], seed: int) -> None:
        self._sets = sets
        self._seed = seed
        self._share = np.asarray(weights, dtype=np.float64) / sum(weights)
        self._block = -1
        self._kinds: list[int] = []
        self._uniform: list[float] = []
        self._look: list[float] = []

    def __call__(self, request_id: int, kind: int | None = None) -> Payload:
        """The payload of a request. Cheap when ids come roughly in order. Raises ScenarioError when it cannot be had:
        a file has vanished, or a function failed."""
        block, at = divmod(request_id, _BLOCK)
        if block != self._block:
            self._draw(block)
        payloads = self._sets[self._kinds[at] if kind is None else kind]
        # Before anything is read: while a thread reads, another greenlet may draw from another block.
        unseen = payloads.unseen if self._look[at] >= payloads.kind.expect.sampled else None
        if payloads.make is None:
            payload = payloads.get(int(self._uniform[at] * payloads.size))
        else:
            payload = payloads.make(self._seed, request_id)
        return payload if unseen is None else Payload(unseen, payload.head, payload.tail, payload.body)

    def _draw(self, block: int) -> None:
        seeds = np.random.SeedSequence(self._seed, spawn_key=(1 << 20, block))
        random = np.random.Generator(np.random.PCG64(seeds))
        self._block = block
        self._kinds = random.choice(len(self._sets), size=_BLOCK, p=self._share).tolist()
        self._uniform = random.random(_BLOCK).tolist()
        self._look = random.random(_BLOCK).tolist()
