"""Does the span receiver survive what it is sent? `python bench/fuzz.py [--bodies 100000] [--grpc 5000] [--gib 10]`

Mutated OTLP bodies over keep-alive connections and gRPC, and bombs, against a receiver as a run starts it. Every
answer must be 200 or 4xx with a reason, the process must live, its memory stay within bounds, and every row it stored
be sound.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from itertools import islice
from pathlib import Path

import grpc
import pyarrow as pa
import pyarrow.compute as pc
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from support import hostile, table

from harness.chunks import convert_without_pandas, read_chunks
from harness.model import Span, Vital
from harness.spans import listen
from harness.spans.grpc_receiver import METHODS
from harness.spans.otlp import KINDS

MOST_MIB = 768
CONNECTIONS = 4
_GRPC_CODES = {"OK", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"}
_STAGES = ["upload", "queue", "preprocess", "inference", "postprocess", "download"]


def over_http(endpoint: str, bodies: Iterator[hostile.Body]) -> Counter[str]:
    """How often each status was answered; a refusal without a reason counts as one more."""
    seen: Counter[str] = Counter()
    connection = HTTPConnection(endpoint.removeprefix("http://"), timeout=60)
    for body in bodies:
        status, unclear = answered(connection, body)
        seen[str(status)] += 1
        if unclear:
            seen[f"{status} without a reason"] += 1
    connection.close()
    return seen


def answered(connection: HTTPConnection, body: hostile.Body) -> tuple[int, bool]:
    headers = {"content-type": body.content_type} | ({"content-encoding": "gzip"} if body.gzipped else {})
    connection.request("POST", f"/v1/{body.signal}", body.content, headers)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status == 200:
        return 200, False
    if body.content_type == hostile.JSON:
        return answer.status, not json.loads(content)["message"]
    return answer.status, not Status.FromString(content).message


def over_grpc(target: str, bodies: Iterator[hostile.Body]) -> Counter[str]:
    """How often each code was answered."""
    seen: Counter[str] = Counter()
    methods = dict(zip(("traces", "metrics"), METHODS, strict=False))
    with grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        calls = {signal: channel.unary_unary(method) for signal, method in methods.items()}
        for body in bodies:
            try:
                calls[body.signal](body.content, timeout=60, wait_for_ready=True)
                seen["gRPC OK"] += 1
            except grpc.RpcError as error:
                seen[f"gRPC {error.code().name}"] += 1
    return seen


def unsound(folder: Path, status: listen.ReceiverStatus) -> Iterator[str]:
    """What is wrong with the rows that were stored."""
    spans = read_chunks([folder / listen.SPANS_FILE], Span)
    spans.validate(full=True)
    if spans.num_rows != status.spans:
        yield f"{spans.num_rows:,} spans stored, {status.spans:,} counted"
    parents = spans["parent_id"].drop_null()
    rules = {
        "trace ids": pc.match_substring_regex(spans["trace_id"], "^[0-9a-f]{32}$"),
        "span ids": pc.match_substring_regex(spans["span_id"], "^[0-9a-f]{16}$"),
        "parent ids": pc.match_substring_regex(parents, "^[0-9a-f]{16}$"),
        "starts": pc.greater(spans["start_ns"], 0),
        "ends": pc.greater_equal(spans["end_ns"], spans["start_ns"]),
        "kinds": pc.is_in(spans["kind"], pa.array(KINDS)),
        "stages": pc.is_in(spans["stage"].drop_null(), pa.array(_STAGES)),
    }
    yield from (f"impossible {name}" for name, good in rules.items() if not pc.all(good, min_count=0).as_py())
    yield from (f"attributes {text[:80]}" for text in spans["attributes"].to_pylist() if text and not is_object(text))
    if (folder / listen.VITALS_FILE).exists():
        vitals = read_chunks([folder / listen.VITALS_FILE], Vital)
        vitals.validate(full=True)
        if vitals.num_rows != status.points:
            yield f"{vitals.num_rows:,} points stored, {status.points:,} counted"
        if not all(map(math.isfinite, vitals["value"].to_pylist())):
            yield "points that are no numbers"
        yield from (
            f"attributes {text[:80]}" for text in vitals["attributes"].to_pylist() if text and not is_object(text)
        )


def is_object(text: str) -> bool:
    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        return isinstance(json.loads(text, parse_constant=refuse), dict)
    except ValueError:
        return False


def peak_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def attack(receiver: listen.ReceiverProcess, options: argparse.Namespace) -> Counter[str]:
    """Everything that is sent, and what was answered."""
    seen: Counter[str] = Counter()

    def a_share(number: int) -> Counter[str]:
        share = -(-(options.bodies - number) // CONNECTIONS)
        return over_http(receiver.endpoint, hostile.bodies(options.seed + number, share))

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for counts in pool.map(a_share, range(CONNECTIONS)):
            seen += counts
    target = (receiver.grpc_endpoint or "").removeprefix("http://")
    protobuf = (body for body in hostile.bodies(options.seed - 1, 10**9) if body.content_type == hostile.PROTOBUF)
    seen += over_grpc(target, islice(protobuf, options.grpc))
    for name, bomb in hostile.bombs(options.gib):
        began = time.perf_counter()
        counts = over_http(receiver.endpoint, iter([bomb]))
        if bomb.content_type == hostile.PROTOBUF:
            counts += over_grpc(target, iter([bomb]))
        print(f"  {name}: {', '.join(counts)}, {time.perf_counter() - began:.1f} s, {len(bomb.content):,} bytes sent")
        seen += counts
    return seen + crowd(target, 4 * options.gib)


def crowd(target: str, count: int) -> Counter[str]:
    """Large messages over gRPC, all at once."""
    body = hostile.Body(bytes(50 * hostile.MIB), hostile.PROTOBUF, "traces", gzipped=False)
    with ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(lambda _: over_grpc(target, iter([body])), range(count)))
    print(f"  {count} messages of 50 MiB at once: {', '.join(sum(answers, Counter()))}")
    return sum(answers, Counter())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bodies", type=int, default=100_000, help="over HTTP")
    parser.add_argument("--grpc", type=int, default=5_000, help="over gRPC")
    parser.add_argument("--gib", type=int, default=10, help="what the largest bomb inflates to")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    convert_without_pandas()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        receiver = listen.start(listen.bind("127.0.0.1:0"), folder, listen.bind_grpc("127.0.0.1:0"))
        try:
            seen = attack(receiver, options)
            peak = peak_mib(receiver.pid)
        finally:
            status = receiver.stop()
        log = (folder / listen.LOG_FILE).read_text()
        wrong = [*unsound(folder, status)][:10]
    table.show(["answer", "times"], [[answer, f"{times:,}"] for answer, times in sorted(seen.items())])
    rejected = f"{status.rejected:,} and {status.points_rejected:,} rejected"
    took = time.perf_counter() - began
    print(f"{status.spans:,} spans and {status.points:,} points stored, {rejected}; {took:.0f} s")
    print(log[-2000:] + "\n".join(wrong))
    strange = [answer for answer in seen if not expected(answer)]
    holds = table.line(f"every answer is 200 or 4xx with a reason {strange or ''}".rstrip(), not strange)
    holds &= table.line(f"it stays up {status.error or ''}".rstrip(), status.ended and not status.error and not log)
    holds &= table.line(f"peak memory {peak:.0f} MiB, at most {MOST_MIB}", peak <= MOST_MIB)
    holds &= table.line("all rows are sound", not wrong)
    sys.exit(not holds)


def expected(answer: str) -> bool:
    if answer.startswith("gRPC "):
        return answer.removeprefix("gRPC ") in _GRPC_CODES
    return answer == "200" or (answer.isdecimal() and 400 <= int(answer) < 500)


if __name__ == "__main__":
    main()
