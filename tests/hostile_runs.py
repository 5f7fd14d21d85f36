"""Stored runs full of text that tries to leave its place: in names, spans, attributes, errors, the plan, the tags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from harness.model import Sample, Span
from harness.run_folder import RunFolder
from tests import shown_runs, stored_queues
from tests import simulated_queues as queues

MARK = "alert(1)"
"""What every script of these texts would call."""

TEXTS = (
    "<script>alert(1)</script>",
    "</script></style></title></textarea><img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)' x='",
    "{{7*7}} {% raw %} ${7*7} #{7*7}",
    "[x](javascript:alert(1)) javascript:alert(1)",
    "--><!-- ]]> <![CDATA[ <iframe src=http://192.0.2.1/>",
    "abc\u202egpj.exe\u2066\u200f",
    "before\x00after\x01\x07\x7f\x85\u2028\u2029",
    "\x1b[31mred\x1b[0m \x1b]8;;http://192.0.2.1\x07link",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 e\u0301\u0327\u0489\u0489\u0489 \ufdfd \U000e0041",
    "url(http://192.0.2.1/x) expression(alert(1)) @import 'http://192.0.2.1/x.css';",
    "../../etc/passwd %2e%2e%2f \\..\\",
)
SURROGATE = "half\ud800a pair"  # only JSON can carry it
LONG = "<b>" + "x" * 1_000_000

SHORT_RUN = "20261101T080000Z-hostile-short"
LONG_RUN = "20261102T080000Z-hostile-long"
MANY_RUN = "20261103T080000Z-hostile-many"


def short_run(path: Path) -> Path:
    """Each of TEXTS everywhere."""
    return _stored(path, TEXTS, 650, (*TEXTS, SURROGATE))


def long_run(path: Path) -> Path:
    """A text of a megabyte everywhere, in a few rows."""
    return _stored(path, (LONG,), 60, (LONG,), rare=True)


def many_run(path: Path, n: int = 1_000) -> Path:
    """Each request with a name, an error, a span name, a model and a resource of its own."""
    return _stored(path, tuple(f"<i>{number}</i>" for number in range(n)), n, TEXTS[:1])


def _stored(path: Path, texts: tuple[str, ...], n: int, said: tuple[str, ...], rare: bool = False) -> Path:
    """`rare`: every tenth row only. Concluded and reported, the way `harness report` does it."""
    simulated = queues.simulate(n, 0.7, 3, servers=2, settle=0)
    plan = shown_runs.plan_of("p95(latency) < 5ms", "error_rate < 1%", name=said[0])
    plan["requests"] = [_request(text) for text in said]
    stored_queues.store(
        path, simulated, plan=plan, source="\n".join(said), label=said[0], warnings=[_warning(text) for text in said],
        environment=dict.fromkeys(said, said[-1]) | {"harness": said[0], "cpu": said[-1]},
        load_error=said[0],
    )  # fmt: skip
    folder = RunFolder(path)
    folder.write_table("samples", _samples(folder.read_table("samples", Sample), texts, rare))
    folder.write_table("spans", _spans(folder.read_table("spans", Span), texts, n, rare))
    folder.write_json("tags.json", list(said))
    return shown_runs.write_all(path)


def _request(text: str) -> dict[str, Any]:
    return {"name": text, "method": "POST", "path": f"/{text}"}


def _warning(text: str) -> dict[str, Any]:
    return {"code": text, "message": text, "hint": text, "invalidates": False}


def _cycled(texts: tuple[str, ...], n: int, rare: bool, usual: str | None) -> list[str | None]:
    return [texts[i % len(texts)] if not rare or i % 10 == 0 else usual for i in range(n)]


def _samples(table: pa.Table, texts: tuple[str, ...], rare: bool) -> pa.Table:
    """Hostile names; a fifth of the requests failed, in words, or a check did."""
    n = table.num_rows
    named, usual = _cycled(texts, n, rare, "usual"), _cycled(texts, n, rare, None)
    some = np.arange(n) % 10
    changes = {
        "name": named,
        "error": [text if kind == 0 else None for text, kind in zip(usual, some, strict=True)],
        "failed_checks": [text if kind == 5 else None for text, kind in zip(named, some, strict=True)],
        "status": [None if kind == 0 else 200 for kind in some],
        "server_timing": usual,
        "worker": named,
    }
    return _changed(table, changes)


def _spans(table: pa.Table, texts: tuple[str, ...], n: int, rare: bool) -> pa.Table:
    """`stored_queues` writes part by part: roots, waits, three stages. All of it speaks another language here."""
    named, usual = _cycled(texts, n, rare, "usual"), _cycled(texts, n, rare, None)
    own = ({"harness.split": "marks"}, {"harness.stage": "queue"}, {}, {"harness.stage": "inference"}, {})
    attributes = [
        json.dumps({**part, **({text: text, "harness.resource": text, "harness.model": text} if text else {})})
        for part in own
        for text in usual
    ]
    stages = table.column("stage").to_pylist()
    stages[2 * n : 2 * n + n // 2] = named[: n // 2]  # half of preprocess: a stage nobody knows
    return _changed(table, {"name": named * 5, "service": named * 5, "attributes": attributes, "stage": stages})


def _changed(table: pa.Table, columns: dict[str, list[Any]]) -> pa.Table:
    for name, values in columns.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))
    return table
