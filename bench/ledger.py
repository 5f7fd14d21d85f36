"""What it takes to turn a million requests with six spans each into the ledger: `python bench/ledger.py [REQUESTS]`.

The run folder is made up (columns drawn at random, a third of the requests with nested or parallel stages); then a
process of its own reads it, joins, splits and writes the ledger, as the end of `harness run` does. Quarter, half and
whole show whether the cost grows with the number of requests.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

REQUESTS = 1_000_000
SPANS = 6
LONGEST_S = 60.0
MOST_GIB = 3.0
LEAST_STRAIGHT = 1.5
"""The whole may cost so many times what twice its half costs."""
T0 = 1_790_000_000_000_000_000
MS = 1_000_000
STAGES = ("queue", "preprocess", "inference", "inference", "postprocess")
MODELS = (None, None, "detector", "reader", None)


def hexadecimal(numbers: np.ndarray, digits: int) -> pa.Array:
    """Big-endian bytes of each row as text of fixed length."""
    text = numbers.tobytes().hex().encode()
    offsets = np.arange(0, len(text) + 1, digits, dtype=np.int32)
    return pa.StringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(text))


def write_samples(path: Path, n: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """samples.parquet; returns trace ids, span ids (rows of bytes) and the instants of the first write."""
    trace, span = random.bytes(16 * n), random.bytes(8 * n)
    traces, spans = np.frombuffer(trace, np.uint8).reshape(n, 16), np.frombuffer(span, np.uint8).reshape(n, 8)
    scheduled = T0 + np.arange(n, dtype=np.int64) * 100_000
    send = scheduled + random.integers(50_000, 400_000, n)
    done = send + 60 * MS
    same = {"name": "read", "phase": "measure", "worker": "1", "done_source": "kernel"}
    zero = np.zeros(n, np.int64)
    columns = {
        "request_id": np.arange(n), "trace_id": hexadecimal(traces, 32), "span_id": hexadecimal(spans, 16),
        **{name: pa.repeat(text, n) for name, text in same.items()}, "step": zero, "scheduled_ns": scheduled,
        "start_ns": scheduled + 20_000, "send_ns": send, "sent_ns": send + 30_000, "first_byte_ns": done - MS,
        "done_ns": done, "done_user_ns": done, "status": zero + 200, "bytes_sent": zero + 900,
        "bytes_received": zero + 300, "attempts": zero + 1, "censored": np.zeros(n, bool),
    }  # fmt: skip
    from harness.chunks import schema_of
    from harness.model import Sample

    schema = schema_of(Sample)
    arrays = [
        pa.array(columns[f.name], f.type) if f.name in columns and not isinstance(columns[f.name], pa.Array)
        else columns.get(f.name, pa.nulls(n, f.type))
        for f in schema
    ]  # fmt: skip
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), path / "samples.parquet", compression="zstd")
    return traces, spans, send


def write_spans(path: Path, traces: np.ndarray, clients: np.ndarray, send: np.ndarray, seed: int) -> None:
    """spans.parquet: a root and five stages a request, in the order an exporter would send them."""
    from harness.chunks import schema_of
    from harness.model import Span

    schema, random, step = schema_of(Span), np.random.default_rng(seed), 50_000
    with pq.ParquetWriter(path / "spans.parquet", schema, compression="zstd") as writer:
        for first in range(0, len(send), step):
            rows = slice(first, min(first + step, len(send)))
            writer.write_table(_some(traces[rows], clients[rows], send[rows], random).cast(schema))


def _some(traces: np.ndarray, clients: np.ndarray, send: np.ndarray, random: np.random.Generator) -> pa.Table:
    n = len(send)
    roots = np.frombuffer(random.bytes(8 * n), np.uint8).reshape(n, 8)
    opened = send + random.integers(100_000, 900_000, n)
    lengths = random.integers(1, 9, (n, len(STAGES))) * MS
    begins = opened[:, None] + np.concatenate((np.zeros((n, 1), np.int64), np.cumsum(lengths, axis=1)[:, :-1]), axis=1)
    ends = begins + lengths
    overlapping = np.arange(n) % 3 == 0
    ends[overlapping, 2] += 2 * MS  # two models at once
    begins[overlapping, 0] = begins[overlapping, 1] + MS // 2  # a wait in the middle of preprocessing
    ends[overlapping, 0] = begins[overlapping, 0] + MS // 4
    closed = opened + 50 * MS
    cpu = random.integers(10_000, 9_000_000, (n, len(STAGES)))
    parts = []
    for number, (stage, model) in enumerate(zip(STAGES, MODELS, strict=True)):
        said = (
            f',"harness.model":"{model}"' if model else ',"harness.resource":"threadpool"' if stage == "queue" else ""
        )
        attributes = [f'{{"harness.stage":"{stage}"{said},"harness.cpu_ns":{ns}}}' for ns in cpu[:, number].tolist()]
        ids = np.frombuffer(random.bytes(8 * n), np.uint8).reshape(n, 8)
        parts.append((ids, roots, stage, "internal", begins[:, number], ends[:, number], stage, attributes))
    said = [
        f'{{"http.request.method":"POST","url.path":"/v1/read","harness.split":"marks","harness.spans":{len(STAGES)},'
        f'"harness.host":"abcabcabcabc","http.route":"/v1/read","http.response.status_code":200,'
        f'"harness.first_send_ns":{sent},"harness.last_send_ns":{sent}}}'
        for sent in (closed - MS).tolist()
    ]
    parts.append((roots, clients, "POST /v1/read", "server", opened, closed, None, said))
    order = np.argsort(np.tile(np.arange(n), len(parts)), kind="stable")
    table = pa.concat_tables(_rows(traces, *part) for part in parts)
    return table.take(pa.array(order))


def _rows(traces: np.ndarray, ids: np.ndarray, parents: np.ndarray, name: str, kind: str, *rest: object) -> pa.Table:
    start, end, stage, attributes = rest
    n = len(ids)
    return pa.table({
        "trace_id": hexadecimal(traces, 32), "span_id": hexadecimal(ids, 16), "parent_id": hexadecimal(parents, 16),
        "name": pa.repeat(name, n), "kind": pa.repeat(kind, n), "service": pa.repeat("reader", n),
        "pid": pa.repeat(pa.scalar(7, pa.int64()), n), "start_ns": start, "end_ns": end,
        "stage": pa.nulls(n, pa.string()) if stage is None else pa.repeat(stage, n), "attributes": attributes,
    })  # fmt: skip


def make(path: Path, requests: int) -> None:
    """A run folder's tables."""
    path.mkdir()
    random = np.random.default_rng(7)
    traces, clients, send = write_samples(path, requests, random)
    write_spans(path, traces, clients, send, 11)


def split(path: Path) -> None:
    """The measured child: run folder -> ledger tables. Prints seconds, CPU seconds, peak memory (GiB), rows."""
    from harness import ledger
    from harness.join import join
    from harness.mapped import mapped_spans
    from harness.model import Sample, SpanSpec
    from harness.run_folder import RunFolder

    began = time.perf_counter()
    folder = RunFolder(path)
    samples = folder.read_table("samples", Sample).sort_by("scheduled_ns")
    joined = join(samples, mapped_spans(folder, SpanSpec()), "auto")
    found = ledger.build(samples, joined, "abcabcabcabc", loopback=True)
    for name in ("ledger", "model_calls", "waits"):
        frame = found.rows if name == "ledger" else getattr(found, name)
        folder.write_table(name, pa.Table.from_pandas(frame, preserve_index=False))
    wall = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_SELF)
    whole = int((found.rows["split"] == "marks").sum())
    print(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20, whole)


def main() -> int:
    if sys.argv[1:2] == ["--split"]:
        split(Path(sys.argv[2]))
        return 0
    most = int(sys.argv[1].replace(",", "").replace("_", "")) if len(sys.argv) > 1 else REQUESTS
    print(f"{'requests':>10} {'spans':>10} {'seconds':>8} {'CPU s':>7} {'GiB':>5} {'us each':>8} {'split':>10}")
    costs = {}
    for requests in (most // 4, most // 2, most):
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "run"
            make(path, requests)
            said = subprocess.run([sys.executable, __file__, "--split", str(path)], capture_output=True, text=True)
        if said.returncode:
            print(said.stderr, file=sys.stderr)
            return 1
        wall, cpu, gib, whole = (float(word) for word in said.stdout.split())
        costs[requests] = (wall, cpu, gib, whole)
        each = cpu / requests * 1e6
        print(f"{requests:10,} {requests * SPANS:10,} {wall:8.1f} {cpu:7.1f} {gib:5.2f} {each:8.1f} {whole:10,.0f}")
    wall, cpu, gib, whole = costs[most]
    straight = cpu / (2 * costs[most // 2][1])
    holds = wall <= LONGEST_S and gib <= MOST_GIB and straight <= LEAST_STRAIGHT and whole == most
    print(f"the whole costs {straight:.2f} times twice its half (at most {LEAST_STRAIGHT})")
    promise = f"at most {LONGEST_S:.0f} s and {MOST_GIB:.0f} GiB, every request split"
    print(f"{'holds' if holds else 'does NOT hold'}: {promise}")
    return 0 if holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
