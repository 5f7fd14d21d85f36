"""What a span says about itself, cut to what a person reads: a label and a few details."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.spans.looks import attributes_of
from harness.units import format_bytes, format_duration

Details = tuple[tuple[str, str], ...]

LONGEST_LABEL = 120
LONGEST_KEY = 80
LONGEST_VALUE = 200
MOST_DETAILS = 20
_LARGEST_PARSED = 1 << 18

_SAID = {
    "harness.model": "model", "model.name": "model", "harness.batch_size": "batch size",
    "harness.batch_id": "batch", "harness.resource": "waited for", "harness.wait": "why",
}  # fmt: skip
"""Attributes that everyone should see first, and what they are called here."""
_OURS = {"upload": "receiving the body", "download": "sending the answer"}
"""Our own spans that go by the name of their stage."""
_MANY = 10**9
_HIDDEN = {"harness.stage", "harness.split", "harness.spans", "harness.host", "harness.body_ns",
           "harness.first_send_ns", "harness.last_send_ns", "harness.streamed"}  # fmt: skip
"""Ours, for the join: drawn, or of no use to a reader."""


def cut(text: str, longest: int) -> str:
    """The beginning of a text that is too long, with an ellipsis."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def label_of(span: Mapping[str, Any], attributes: Mapping[str, object]) -> str:
    """The name of a span with the model it called, or what it waited for."""
    name, stage = str(span["name"] or "") or "(no name)", span["stage"]
    words = [_OURS.get(name, name) if name == stage else name]
    model, resource = attributes.get("harness.model", attributes.get("model.name")), attributes.get("harness.resource")
    if stage == "queue" and isinstance(resource, str) and resource:
        words = [f"wait: {resource}"] if name in ("queue", "wait", resource) else [name, resource]
    elif isinstance(model, str) and model and model != name:
        words.append(model)
    size = attributes.get("harness.batch_size")
    if isinstance(size, int) and not isinstance(size, bool) and size > 1:
        words.append(f"batch of {size:,}" if size < _MANY else "a batch")
    longest = LONGEST_LABEL if len(words) == 1 else LONGEST_LABEL // 2
    return cut(" · ".join(cut(word, longest) for word in words), LONGEST_LABEL)


def attributes(text: str | None) -> dict[str, object]:
    """The attributes of a span row; nothing of one that is too large to be read for a page."""
    return attributes_of(text) if text is not None and len(text) <= _LARGEST_PARSED else {}


def details_of(span: Mapping[str, Any], said: Mapping[str, object]) -> Details:
    """Names and values, the most telling first."""
    found: list[tuple[str, str]] = []
    for key, name in _SAID.items():
        if key in said and name not in dict(found):
            found.append((name, _text(said[key])))
    cpu = said.get("harness.cpu_ns")
    if isinstance(cpu, int) and not isinstance(cpu, bool) and 0 <= cpu < 2**62:
        found.append(("CPU time of its thread", format_duration(cpu / 1e9)))
    if span["service"]:
        pid = f" (pid {span['pid']})" if span["pid"] is not None else ""
        found.append(("service", cut(str(span["service"]), LONGEST_VALUE) + pid))
    if span["kind"] not in (None, "internal", "unspecified"):
        found.append(("kind", cut(str(span["kind"]), LONGEST_VALUE)))
    others = [key for key in said if key not in _SAID and key not in _HIDDEN and key != "harness.cpu_ns"]
    room = MOST_DETAILS - len(found) - 1
    found += [(cut(key, LONGEST_KEY), _text(said[key])) for key in others[:room]]
    if len(others) > room:
        found.append(("and", f"{len(others) - room:,} more attributes"))
    elif (text := span["attributes"]) is not None and len(text) > _LARGEST_PARSED:
        found.append(("attributes", f"{format_bytes(len(text))}: too large to be shown"))
    return tuple(found)


def _text(value: object) -> str:
    try:
        return cut(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), LONGEST_VALUE)
    except (ValueError, RecursionError):
        return "…"
