"""The `spans:` section: where server halves come from; and the `slo:` list, which depends on it."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path

from harness.errors import ScenarioError, UsageError, nearest
from harness.model import PRESETS, SERVER_STAGES, SpanSpec
from harness.scenario.document import Block, Entry, Node
from harness.scenario.target import parse_listen, parse_target
from harness.scenario.values import choice_of, entries_of, fields_of, items_of, number_of, one_or_more, parsed, text_of
from harness.slo import VITALS, Slo, check_names, needs_server_half, parse_slos
from harness.units import parse_share, quoted

STORES = ("jaeger", "tempo")
"""Sources that are asked over HTTP when the load has ended; `address` is the base URL of their query API."""
ADDRESSED = (*STORES, "file")
SOURCES = ("auto", "otlp", "server-timing", *ADDRESSED, "none")
STORE_TOKEN = "MLHARNESS_TRACE_STORE_TOKEN"  # noqa: S105 - the name of a variable

_RECEIVING = ("auto", "otlp")
_CLIENT_STAGES = ("backlog", "connect", "unsplit")
_KEYS = ("listen", "listen_grpc", "source", "sampled", "stages", "preset")
_SOURCE = "the source of spans"
_EXAMPLES = {"jaeger": "http://127.0.0.1:16686", "tempo": "http://127.0.0.1:3200", "file": "traces/*.json"}


def read_spans(node: Node, folder: Path = Path()) -> SpanSpec:
    """Where spans come from; the path of a `file` is relative to `folder`. Raises ScenarioError."""
    fields = fields_of(node, "spans", _KEYS)
    default = SpanSpec()
    source, address = _source(fields["source"].node, folder) if "source" in fields else (default.source, None)
    listen, listen_grpc = _listen(fields, "listen", default.listen), _listen(fields, "listen_grpc", default.listen_grpc)
    if listen_grpc is not None and listen_grpc == listen and not listen_grpc.endswith(":0"):
        hint = "give gRPC a port of its own, e.g. listen_grpc: 127.0.0.1:4317"
        raise ScenarioError("listen and listen_grpc in spans are the same address", hint, fields["listen_grpc"].where)
    return SpanSpec(
        listen=listen,
        source=source,
        sampled=_sampled(fields["sampled"].node) if "sampled" in fields else default.sampled,
        stages=_stages(fields["stages"].node) if "stages" in fields else (),
        listen_grpc=listen_grpc,
        address=address,
        preset=choice_of(fields["preset"].node, "the preset of spans", PRESETS) if "preset" in fields else None,
    )


def read_slos(node: Node, spans: SpanSpec, names: Collection[str] | None, steps: int) -> tuple[str, ...]:
    """The SLO lines, each once, in order. `names` of the requests, None when a user class decides them.

    Raises ScenarioError at the line of a bad one.
    """
    found: dict[str, None] = {}
    for item in items_of(node, "slo"):
        text_of(item, "each line of slo")
        slos = parsed(item, "", partial(_known, names=names, steps=steps))
        for slo in slos:
            lacking = _lacking(slo, spans)
            if lacking is not None:
                problem = f"SLO {quoted(slo.expression)} needs {lacking}"
                raise ScenarioError(problem, "use source: auto, or an SLO on latency", item.where)
        found[" and ".join(slo.expression for slo in slos)] = None
    return tuple(found)


def _lacking(slo: Slo, spans: SpanSpec) -> str | None:
    """What an SLO stands on that nobody can send to this run."""
    has = f"and spans has `source: {spans.source}`"
    if slo.subject in VITALS and spans.source not in _RECEIVING:
        return f"vitals of the service, which come as OTLP, {has}"
    if spans.source == "none" and needs_server_half(slo) and slo.subject not in _CLIENT_STAGES:
        return f"server spans, {has}"
    return None


def _known(line: str, names: Collection[str] | None, steps: int) -> tuple[Slo, ...]:
    slos = parse_slos(line)
    for slo in slos:
        check_names(slo, names, steps)
    return slos


def _listen(fields: Mapping[str, Entry], key: str, usual: str | None) -> str | None:
    return parsed(fields[key].node, f"{key} in spans", parse_listen) if key in fields else usual


# --- the source --------------------------------------------------------------------------------------------


def _source(node: Node, folder: Path) -> tuple[str, str | None]:
    """(source, address) of one word, `{jaeger: URL}` or "jaeger: URL"."""
    if isinstance(node, Block):
        entries = entries_of(node, _SOURCE)
        if len(entries) != 1:
            hint = "keep one of them" if entries else f"write one of {', '.join(SOURCES)}"
            raise ScenarioError(f"{_SOURCE} has {len(entries) or 'no'} names", hint, node.where)
        (entry,) = entries
        kind = entry.key
        _check_addressed(kind, entry.where)
        return kind, parsed(entry.node, f"{kind} in {_SOURCE}", partial(_address, kind, folder))
    text = text_of(node, _SOURCE).strip()
    kind, colon, address = (part.strip() for part in text.partition(":"))
    if not colon and kind not in ADDRESSED:
        return choice_of(node, _SOURCE, SOURCES), None
    _check_addressed(kind, node.where)
    if not address:
        hint = f"write source: {{{kind}: {_EXAMPLES[kind]}}}"
        raise ScenarioError(f"{_SOURCE} {quoted(kind)} has no address", hint, node.where)
    try:
        return kind, _address(kind, folder, address)
    except UsageError as error:
        raise ScenarioError(f"{kind} in {_SOURCE}: {error.message}", error.hint, node.where) from None


def _check_addressed(kind: str, where: str) -> None:
    if kind in ADDRESSED:
        return
    if kind in SOURCES:
        raise ScenarioError(f"{_SOURCE} {quoted(kind)} takes no address", f"write source: {kind}", where)
    raise ScenarioError(f"{_SOURCE} cannot be {quoted(kind)}", nearest(kind, SOURCES), where)


def _address(kind: str, folder: Path, text: str) -> str:
    """The URL of a store, the absolute pattern of a file. Raises UsageError."""
    return _pattern(folder, text.strip()) if kind == "file" else _store(kind, text.strip())


def _store(kind: str, url: str) -> str:
    if "@" in url.split("?")[0].split("#")[0]:  # not quoted back: it holds a password
        message = "a user name or password in the URL would be stored with the run"
        raise UsageError(message, f"set {STORE_TOKEN} in the environment: it is sent as a bearer token")
    if any(sign in url for sign in "?#"):
        base = url.split("?")[0].split("#")[0]
        raise UsageError("the URL of a trace store has no query and no fragment", f"write {base}")
    if "://" not in url or url.split("://")[0].lower() not in ("http", "https"):
        raise UsageError(f"{quoted(url)} is not the URL of a trace store", f"write {_EXAMPLES[kind]} for example")
    return parse_target(url)


def _pattern(folder: Path, text: str) -> str:
    pattern = os.path.abspath(folder / text)
    if "\0" not in pattern and any(os.path.isfile(path) for path in (pattern, *glob.iglob(pattern))):
        return pattern
    hint = "start what writes it first (a collector with a file exporter), or create it: it may be empty"
    raise UsageError(f"no file {quoted(pattern, 200)}", hint)


# --- the rest ----------------------------------------------------------------------------------------------


def _sampled(node: Node) -> float:
    what = "sampled in spans"
    text = text_of(node, what).strip()
    share = parsed(node, what, parse_share) if text.endswith("%") else number_of(node, what, "1.0 or 25%")
    if not 0 <= share <= 1:
        raise ScenarioError(f"{what} should lie between 0 and 1", "write 1.0 to record every request", node.where)
    return share


def _stages(node: Node) -> tuple[tuple[str, tuple[str, ...]], ...]:
    fields_of(node, "the stages of spans", SERVER_STAGES)
    return tuple(
        (entry.key, tuple(_test(item, f"{quoted(entry.key)} in stages") for item in one_or_more(entry.node, "stages")))
        for entry in entries_of(node, "the stages of spans")
    )


def _test(node: Node, what: str) -> str:
    test = text_of(node, what).strip()
    if test == "attr:":
        raise ScenarioError(f"{what}: attr: names no attribute", "write attr:model.name", node.where)
    return test
