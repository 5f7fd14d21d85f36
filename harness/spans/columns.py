"""Spans of a run as numpy columns: what the join needs of each, a twentieth of the table's size.

Read part by part, so that a run of millions of spans is never held as text. Ids become 64-bit numbers; of the
attributes only what the ledger uses is kept.
"""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from harness.model import CLAIMS
from harness.spans.looks import attributes_of, encoded

UNKNOWN = -1
"""In columns of numbers that are never negative: not known."""

_QUEUE, _INFERENCE = CLAIMS.index("queue"), CLAIMS.index("inference")
_NO_HOST = "-"
_CPU = r'"harness\.cpu_ns": ?(?P<ns>[0-9]{1,18})[,}]'
_UNIQUE = r'"harness\.cpu_ns": ?[0-9]+'
"""What makes the attributes of every span differ, and nobody here asks for."""


@dataclass(frozen=True, slots=True, eq=False)
class SpanColumns:
    """One row per span of a request of this run, in the order of arrival. `*_of` columns are positions in a tuple.

    `request` is the position of the sample, `stage` one in CLAIMS or -1; ids are numbers, `parent` is 0 where there is
    none. The columns from `marked` on are known of server spans only, those from `model_of` on of spans that infer or
    wait.
    """

    request: NDArray[np.int32]
    id: NDArray[np.uint64]
    parent: NDArray[np.uint64]
    start_ns: NDArray[np.int64]
    end_ns: NDArray[np.int64]
    stage: NDArray[np.int8]
    server: NDArray[np.bool_]
    client: NDArray[np.bool_]
    marked: NDArray[np.bool_]  # by our instrumentation
    announced: NDArray[np.int32]  # spans below it, as the service counted them
    answered_ns: NDArray[np.int64]  # the first part of the answer was handed over
    sent_ns: NDArray[np.int64]  # its last part was handed over
    streamed: NDArray[np.bool_]  # the body may have been made between the two
    host_of: NDArray[np.int32]
    model_of: NDArray[np.int32]
    resource_of: NDArray[np.int32]
    batch_of: NDArray[np.int32]
    batch_size: NDArray[np.int32]
    wait_of: NDArray[np.int32]
    cpu_ns: NDArray[np.int64]  # of its thread, -1 where it was not measured; known of every span with a stage
    process_of: NDArray[np.int32]
    hosts: tuple[str, ...]
    models: tuple[str, ...]
    resources: tuple[str, ...]
    batches: tuple[str, ...]
    waits: tuple[str, ...]
    processes: tuple[str, ...]  # as `process_name` calls them
    foreign: int  # traces that no request of this run started
    read: int  # spans read, foreign ones included


_KINDS: dict[str, Any] = {
    "request": np.int32, "id": np.uint64, "parent": np.uint64, "start_ns": np.int64, "end_ns": np.int64,
    "stage": np.int8, "server": np.bool_, "client": np.bool_, "marked": np.bool_, "announced": np.int32,
    "answered_ns": np.int64, "sent_ns": np.int64, "streamed": np.bool_, "host_of": np.int32, "model_of": np.int32,
    "resource_of": np.int32, "batch_of": np.int32, "batch_size": np.int32, "wait_of": np.int32, "cpu_ns": np.int64,
    "process_of": np.int32,
}  # fmt: skip
PER_SPAN = tuple(_KINDS)
"""The columns of SpanColumns that have a row per span."""


def columns_of(parts: Iterable[pa.Table], trace_ids: pa.Array) -> SpanColumns:
    """The spans of the requests with these trace ids, from tables of model.Span rows with their stages mapped."""
    names = _Texts()
    read, foreign, found = 0, set[str](), []
    for part in parts:
        read += part.num_rows
        request = pc.index_in(part.column("trace_id"), value_set=trace_ids)
        own = pc.is_valid(request)
        if not pc.all(own, min_count=0).as_py():
            foreign.update(pc.unique(part.column("trace_id").filter(pc.invert(own))).to_pylist())
            part, request = part.filter(own), request.filter(own)
        if part.num_rows:
            found.append(_part(part, request, names))
    arrays: dict[str, Any] = {
        name: np.concatenate([each[name] for each in found]) if found else np.zeros(0, _KINDS[name])
        for name in PER_SPAN
    }
    texts: dict[str, Any] = {f.name: tuple(getattr(names, f.name).known) for f in fields(names)}
    return SpanColumns(**arrays, **texts, foreign=len(foreign), read=read)


@dataclass(frozen=True, slots=True)
class _Names:
    """Texts and the numbers they got, in the order they were first seen."""

    known: dict[str, int] = field(default_factory=dict)

    def number(self, text: object) -> int:
        # An empty name is none: it would be a blank in every table.
        return UNKNOWN if text is None or text == "" else self.known.setdefault(str(text), len(self.known))


@dataclass(frozen=True, slots=True)
class _Texts:
    """The texts of a run's spans, by the name of their tuple in SpanColumns."""

    hosts: _Names = field(default_factory=_Names)
    models: _Names = field(default_factory=_Names)
    resources: _Names = field(default_factory=_Names)
    batches: _Names = field(default_factory=_Names)
    waits: _Names = field(default_factory=_Names)
    processes: _Names = field(default_factory=_Names)


def process_name(service: object, pid: object) -> str | None:
    """What a process of a service is called; None where nobody said which one it is."""
    return None if pid is None else f"{service or 'service'} (pid {pid})"


def _part(part: pa.Table, request: pa.ChunkedArray, names: _Texts) -> dict[str, NDArray[Any]]:
    stage = pc.fill_null(pc.index_in(part.column("stage"), value_set=pa.array(CLAIMS)), UNKNOWN)
    stages = stage.to_numpy().astype(np.int8)
    server = pc.equal(part.column("kind"), "server").to_numpy()
    n = part.num_rows
    columns: dict[str, NDArray[Any]] = {
        "request": request.to_numpy().astype(np.int32),
        "id": numbers_of(part.column("span_id")),
        "parent": numbers_of(part.column("parent_id")),
        "start_ns": part.column("start_ns").to_numpy(),
        "end_ns": part.column("end_ns").to_numpy(),
        "stage": stages,
        "server": server,
        "client": pc.equal(part.column("kind"), "client").to_numpy(),
        **{name: np.full(n, UNKNOWN, _KINDS[name]) for name in PER_SPAN[9:]},
        "marked": np.zeros(n, np.bool_),
        "streamed": np.zeros(n, np.bool_),
    }
    text = part.column("attributes")
    _read_roots(columns, np.flatnonzero(server), text, names.hosts)
    _read_stages(columns, np.flatnonzero((stages == _QUEUE) | (stages == _INFERENCE)), text, names)
    _read_cpu(columns, np.flatnonzero(stages >= 0), text)
    _name_waits(columns, part.column("name"), names.resources)
    _name_processes(columns, np.flatnonzero(server), part, names.processes)
    return columns


def _read_roots(columns: dict[str, NDArray[Any]], rows: NDArray[np.intp], text: pa.ChunkedArray, hosts: _Names) -> None:
    found = [attributes_of(each) for each in text.take(pa.array(rows)).to_pylist()]
    columns["marked"][rows] = _each(found, lambda a: a.get("harness.split") == "marks", np.bool_)
    columns["announced"][rows] = _each(found, lambda a: _small(a.get("harness.spans")), np.int32)
    columns["answered_ns"][rows] = _each(found, lambda a: _whole(a.get("harness.first_send_ns")), np.int64)
    columns["sent_ns"][rows] = _each(found, lambda a: _whole(a.get("harness.last_send_ns")), np.int64)
    columns["streamed"][rows] = _each(found, lambda a: a.get("harness.streamed") is True, np.bool_)
    columns["host_of"][rows] = _each(found, lambda a: hosts.number(_host(a.get("harness.host"))), np.int32)


def _read_stages(
    columns: dict[str, NDArray[Any]], rows: NDArray[np.intp], text: pa.ChunkedArray, names: _Texts
) -> None:
    """Models, resources and batches: each different text is parsed once."""
    same = pc.replace_substring_regex(text.take(pa.array(rows)), _UNIQUE, '"harness.cpu_ns":0')
    different, which = encoded(same)
    found = [attributes_of(each) for each in different]
    columns["model_of"][rows] = _each(found, lambda a: names.models.number(_model(a)), np.int32)[which]
    columns["batch_size"][rows] = _each(found, lambda a: _small(a.get("harness.batch_size")), np.int32)[which]
    for column, known, key in (
        ("resource_of", names.resources, "harness.resource"),
        ("batch_of", names.batches, "harness.batch_id"),
        ("wait_of", names.waits, "harness.wait"),
    ):
        columns[column][rows] = np.fromiter((known.number(a.get(key)) for a in found), np.int32, len(found))[which]


def _read_cpu(columns: dict[str, NDArray[Any]], rows: NDArray[np.intp], text: pa.ChunkedArray) -> None:
    """CPU time differs from span to span: the digits are cut out, nothing is parsed."""
    digits = pc.struct_field(pc.extract_regex(text.take(pa.array(rows)), _CPU), "ns")
    columns["cpu_ns"][rows] = pc.fill_null(pc.cast(digits, pa.int64()), UNKNOWN).to_numpy()


def _name_processes(
    columns: dict[str, NDArray[Any]], rows: NDArray[np.intp], part: pa.Table, processes: _Names
) -> None:
    picked = part.select(["service", "pid"]).take(pa.array(rows))
    services, of = encoded(picked.column("service"))
    pids = pc.fill_null(picked.column("pid"), UNKNOWN).to_numpy().astype(np.int64)
    pairs, which = np.unique(np.stack([of, pids]), axis=1, return_inverse=True)
    numbers = [
        processes.number(process_name(services[service], None if pid == UNKNOWN else pid)) for service, pid in pairs.T
    ]
    columns["process_of"][rows] = np.array(numbers, np.int32)[which.ravel()] if numbers else UNKNOWN


def _name_waits(columns: dict[str, NDArray[Any]], span_names: pa.ChunkedArray, resources: _Names) -> None:
    """A wait that does not say what it waited for goes by the name of its span, unless that only says that it waits."""
    rows = np.flatnonzero((columns["stage"] == _QUEUE) & (columns["resource_of"] == UNKNOWN))
    different, which = encoded(span_names.take(pa.array(rows)))
    numbers = [UNKNOWN if name in ("", CLAIMS[_QUEUE]) else resources.number(name) for name in different]
    columns["resource_of"][rows] = np.array(numbers, np.int32)[which] if numbers else UNKNOWN


def _each(found: Sequence[dict[str, object]], read: Callable[[dict[str, object]], object], kind: type) -> NDArray[Any]:
    return np.fromiter((read(attributes) for attributes in found), kind, len(found))


def _model(attributes: dict[str, object]) -> object:
    return attributes.get("harness.model", attributes.get("model.name"))


def _host(key: object) -> str | None:
    """The key of the server's kernel; a service that cannot tell says "-"."""
    return key if isinstance(key, str) and key != _NO_HOST else None


def _small(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else UNKNOWN


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else UNKNOWN


def numbers_of(ids: pa.ChunkedArray) -> NDArray[np.uint64]:
    """16 hexadecimal digits each -> numbers; 0 for null. Anything else (an edited folder) gets a number of its own."""
    texts = pc.fill_null(ids, "0" * 16)
    if pc.all(pc.equal(pc.binary_length(texts), 16), min_count=0).as_py():
        try:
            whole = b"".join(_bytes_of(chunk) for chunk in texts.chunks)
            return np.frombuffer(binascii.unhexlify(whole), dtype=">u8").astype(np.uint64)
        except binascii.Error:
            pass
    return np.fromiter((_number(text) for text in texts.to_pylist()), np.uint64, len(texts))


def _bytes_of(texts: pa.StringArray) -> bytes:
    """The characters of an array whose texts are all 16 long."""
    _, _, characters = texts.buffers()
    begin = texts.buffers()[1]
    first = int(np.frombuffer(begin, np.int32)[texts.offset]) if len(texts) else 0
    return bytes(memoryview(characters)[first : first + 16 * len(texts)]) if len(texts) else b""


def _number(text: str) -> int:
    try:
        return int(text, 16) if len(text) == 16 else _hashed(text)
    except ValueError:
        return _hashed(text)


def _hashed(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big") | 1
