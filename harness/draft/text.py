"""Drafted requests -> the text of a scenario that is accepted: what cannot be sent yet stands in comments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.draft.requests import Drafted, literal
from harness.errors import ScenarioError
from harness.scenario.document import parse_document
from harness.scenario.request_section import read_requests

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off"}

_REQUESTS = """\
# What is sent, each as often as its `weight` says (1 when it says nothing). These are real requests: a POST may create
# or change something. A request may also say:
#   timeout: 30s
#   expect: {status: 200, max_bytes: 1MiB, json: {"lines[0].text": "~ (?i)total", score: "0.5 .. 1"}}    # JMESPath
#   files: {image: payloads/*.jpg}       # one file is drawn for each request; body: is the file as it is
#   python: payloads.py:make             # a function of a seeded numpy Generator makes the body
requests:
"""
_LOAD = """\
load:
  arrivals: poisson     # requests come at random, as from many people who do not know of each other; or constant
  rate: 2/s             # how many come, whether the service keeps up or not; or steps: [2/s, 4/s, 8/s]
  warmup: 5s            # sent, but not counted: caches fill, models are loaded
  duration: 30s         # what is counted; of each step, if there are steps
  drain: 30s            # how long the last answers are waited for
  seed: 1               # the same seed gives the same arrivals and the same payloads

# What has to hold. With limits `harness run` exits with 1 when one is broken, so a release can be stopped by it.
# slo:
#   - p95(latency) < 1s
#   - error_rate < 1%
#   - p90(inference) < 600ms            # stages need instrument(app) in the service, or its spans
"""


@dataclass(frozen=True, slots=True)
class Draft:
    """The text of a scenario, and how many of its requests run, have to be filled in, and were left out."""

    text: str
    active: int
    to_fill_in: int
    left_out: int


class _Dumper(yaml.SafeDumper):
    """Quotes every text that could be read as something else."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _represent_text)
_Dumper.ignore_aliases = lambda *_: True  # type: ignore[method-assign]


def write_draft(name: str, target: str, requests: Sequence[Drafted], folder: Path, origin: str) -> Draft:
    """The scenario. A request that would be refused in `folder`, where it will stand, is put into a comment too."""
    for request in requests:
        if not request.fill and request.left_out is None and (problem := refusal(request, folder)) is not None:
            request.fill.append(problem.message)
    active = [r for r in requests if not r.fill and r.left_out is None]
    filled = [r for r in requests if r.fill and r.left_out is None]
    aside = [r for r in requests if r.left_out is not None]
    parts = [f"# Written by `harness init` from {_one_line(origin)}.\n"]
    parts.append(f"scenario: {_scenario_name(name)}\n")
    parts.append(f"target: {_target(target)}    # another place: --target URL, or the variable TARGET\n\n")
    parts.append(_REQUESTS)
    if not active:
        parts.append("  # Nothing can be sent yet: fill in one of these, and take the # in front of its lines away.\n")
    parts += [_request(request) for request in active]
    if filled and active:
        parts.append("\n\n  # To be filled in; then take the # in front of the lines away.\n")
    parts += [_request(request, f"fill in: {'; '.join(request.fill)}") for request in filled]
    if aside:
        parts.append("\n\n  # Left out; take the # away to send them as well.\n")
    parts += [_request(r, "; ".join([f"left out: {r.left_out}", *(f"fill in: {f}" for f in r.fill)])) for r in aside]
    return Draft(
        "".join(parts).replace("requests:\n\n", "requests:\n") + "\n" + _LOAD, len(active), len(filled), len(aside)
    )


def refusal(request: Drafted, folder: Path) -> ScenarioError | None:
    """Why the scenario reader would not take this request; None when it does."""
    try:
        read_requests(parse_document(_block(request), "the draft", {}), folder)
    except ScenarioError as error:
        return error
    return None


def _request(request: Drafted, reason: str | None = None) -> str:
    notes = [_one_line(note) for note in dict.fromkeys(request.notes)]
    lines = [f"# {note}" for note in notes if note]
    if reason is None:
        return "\n" + "".join(f"  {line}\n" for line in [*lines, *_block(request).splitlines()])
    lines.append(f"# {_one_line(reason, 400)}")
    return "\n" + "".join(f"  {line}\n" for line in [*lines, *(f"# {own}" for own in _block(request).splitlines())])


def _block(request: Drafted) -> str:
    """The request as an item of a list."""
    fields = {"name": literal(request.name), "http": request.http, **_in_order(request.fields)}
    lines = [line for key, value in fields.items() for line in _dumped(key, value).splitlines()]
    return "".join(f"{'- ' if at == 0 else '  '}{line}\n" for at, line in enumerate(lines))


def _in_order(fields: Mapping[str, Any]) -> dict[str, Any]:
    order = ("params", "headers", "form", "files", "json", "text", "body")
    return {key: fields[key] for key in order if key in fields}


def _dumped(key: str, value: Any) -> str:
    if key == "http":
        return f"http: {value}" if re.fullmatch(r"[A-Z]+ [A-Za-z0-9/._~%-]+", value) else f"http: {_quoted(value)}"
    # The value alone would not tell whether `key:` needs a line of its own; a block of one key does.
    style = None if isinstance(value, Mapping | list) and value else False
    text: str = yaml.dump(
        {key: value}, Dumper=_Dumper, sort_keys=False, default_flow_style=style, allow_unicode=True, width=1_000_000
    )
    return text


def _quoted(text: str) -> str:
    dumped: str = yaml.dump(text, Dumper=_Dumper, allow_unicode=True, width=1_000_000, default_style='"')
    return dumped.removesuffix("\n").removesuffix("\n...")


def _target(target: str) -> str:
    if any(sign in target for sign in "{}$"):
        return _quoted(literal(target))
    return _quoted(f"${{TARGET:-{target}}}")


def _scenario_name(title: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-").lower()[:40].strip("-") or "first"


def _one_line(text: str, most: int = 160) -> str:
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return words if len(words) <= most else words[: most - 3] + "..."
