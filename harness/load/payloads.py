"""Request specs -> request bytes, built once per payload: only the trace context changes from send to send."""

from __future__ import annotations

import hashlib
import math
import mimetypes
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import numpy as np

from harness import __version__
from harness.errors import ScenarioError
from harness.load.wire import Terms
from harness.model import BodySpec, Expect, RequestSpec

IN_MEMORY_BYTES = 256 << 20  # all payload files together; beyond that they are read when drawn
IN_MEMORY_PAYLOADS = 4096
_JOIN_BYTES = 1 << 16  # a body up to this size goes out in one write with its head
_BLOCK = 8192
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
    """All payloads of one kind: `size` of them, `get(i)` gives one."""

    kind: Kind
    size: int
    get: Callable[[int], Payload]


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
    sent = body or b""
    joined = len(sent) <= _JOIN_BYTES
    return Payload(kind, head, b"\r\n\r\n" + (sent if joined else b""), b"" if joined else sent)


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


# --- bodies ------------------------------------------------------------------------------------------------


def multipart(fields: Iterable[Pair], files: Iterable[tuple[str, str, bytes, str | None]]) -> tuple[bytes, str]:
    """(body, content type) of a multipart/form-data form; `files` are (field, file name, content, type or None).

    RFC 7578; quotes and line breaks in names are escaped the way browsers do (WHATWG HTML, multipart/form-data).
    """
    kept = list(files)
    seed = b"".join(content[:4096] + name.encode() for _, name, content, _ in kept)
    boundary = "mlharness-" + hashlib.blake2b(seed, digest_size=16).hexdigest()
    parts: list[bytes] = []
    for field, value in fields:
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(field)}"\r\n\r\n'.encode())
        parts.append(value.encode() + b"\r\n")
    for field, name, content, guessed in kept:
        kind = guessed or guess_type(name)
        disposition = f'form-data; name="{_quoted(field)}"; filename="{_quoted(name)}"'
        parts.append(f"--{boundary}\r\nContent-Disposition: {disposition}\r\nContent-Type: {kind}\r\n\r\n".encode())
        parts += [content, b"\r\n"]
    parts.append(f"--{boundary}--\r\n".encode())
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"


def _quoted(name: str) -> str:
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def guess_type(name: str) -> str:
    """The media type a file name suggests."""
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _choices(body: BodySpec) -> tuple[Sequence[str], ...]:
    return (body.body,) if body.body else tuple(paths for _, paths in body.files)


def _body_of(spec: BodySpec, drawn: Sequence[str], read: Callable[[str], bytes]) -> tuple[bytes | None, str | None]:
    if spec.json is not None:
        return spec.json.encode(), "application/json"
    if spec.text is not None:
        return spec.text.encode(), "text/plain; charset=utf-8"
    if spec.body:
        return read(drawn[0]), guess_type(drawn[0])
    if spec.files:
        fields = [field for field, _ in spec.files]
        files = [(f, Path(p).name, read(p), None) for f, p in zip(fields, drawn, strict=True)]
        return multipart(spec.form, files)
    if spec.form:
        return urlencode(spec.form).encode(), "application/x-www-form-urlencoded"
    return None, None


# --- sets and draws ----------------------------------------------------------------------------------------


def payload_sets(requests: Sequence[RequestSpec], target: str, run_id: str) -> list[PayloadSet]:
    """One set per kind of request. Raises ScenarioError for a payload file that cannot be read."""
    paths = {p for r in requests for choice in _choices(r.body) for p in choice}
    small = sum(_size(p) for p in paths) <= IN_MEMORY_BYTES
    files = {p: _read(p) for p in paths} if small else {}
    return [_payload_set(r, target, run_id, files.__getitem__ if small else _read, small) for r in requests]


def _payload_set(r: RequestSpec, target: str, run_id: str, read: Callable[[str], bytes], in_memory: bool) -> PayloadSet:
    keep_body = bool(r.expect.json)
    terms = Terms(r.timeout_s, r.expect.max_bytes, no_body=r.method == "HEAD", keep_body=keep_body)
    kind = Kind(r.name, r.method, terms, r.expect)
    url = joined_url(target, r.path, r.params)
    headers = with_user_headers(run_headers(run_id), r.headers)
    choices = _choices(r.body)
    size = math.prod(len(c) for c in choices)

    def build(index: int) -> Payload:
        drawn = []
        for choice in choices:
            index, own = divmod(index, len(choice))
            drawn.append(choice[own])
        return payload_of(kind, url, headers, *_body_of(r.body, drawn, read))

    if in_memory and size <= IN_MEMORY_PAYLOADS and _bytes_of_all(choices, size, read) <= IN_MEMORY_BYTES:
        built = [build(i) for i in range(size)]
        return PayloadSet(kind, size, built.__getitem__)
    return PayloadSet(kind, size, build)


def _bytes_of_all(choices: Sequence[Sequence[str]], size: int, read: Callable[[str], bytes]) -> int:
    # A field with k files appears size / k times with each of them.
    return sum(len(read(p)) * size // len(choice) for choice in choices for p in choice)


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
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ScenarioError(f"cannot read the payload {path}: {error.strerror}", "check the path") from None


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

    def __call__(self, request_id: int, kind: int | None = None) -> Payload:
        """The payload of a request. Cheap when ids come roughly in order."""
        block, at = divmod(request_id, _BLOCK)
        if block != self._block:
            self._draw(block)
        payloads = self._sets[self._kinds[at] if kind is None else kind]
        return payloads.get(int(self._uniform[at] * payloads.size))

    def _draw(self, block: int) -> None:
        seeds = np.random.SeedSequence(self._seed, spawn_key=(1 << 20, block))
        random = np.random.Generator(np.random.PCG64(seeds))
        self._block = block
        self._kinds = random.choice(len(self._sets), size=_BLOCK, p=self._share).tolist()
        self._uniform = random.random(_BLOCK).tolist()
