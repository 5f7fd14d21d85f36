"""The `spans:` section: where server halves come from; and the `slo:` list, which depends on it."""

from __future__ import annotations

from harness.errors import ScenarioError
from harness.model import SERVER_STAGES, SpanSpec
from harness.scenario.document import Block, Node
from harness.scenario.target import parse_listen
from harness.scenario.values import choice_of, entries_of, fields_of, items_of, number_of, one_or_more, parsed, text_of
from harness.slo import parse_slo
from harness.units import parse_share, quoted

SOURCES = ("auto", "otlp", "server-timing", "none")

_CLIENT_SUBJECTS = ("latency", "service", "backlog", "connect", "unsplit", None)
_KEYS = ("listen", "source", "sampled", "stages")
_OTLP = "let the service send OTLP/HTTP to the address of `listen`: source: otlp"
_LATER_SOURCES = {"jaeger": _OTLP, "tempo": _OTLP, "file": _OTLP}
_LATER = {
    "preset": 'name the spans yourself: stages: {inference: ["compute*"]}',
    "listen_grpc": "send OTLP over HTTP (http/protobuf) to the address of `listen`",
}


def read_spans(node: Node) -> SpanSpec:
    """Where spans come from. Raises ScenarioError."""
    fields = fields_of(node, "spans", _KEYS, _LATER)
    default = SpanSpec()
    return SpanSpec(
        listen=parsed(fields["listen"].node, "listen in spans", parse_listen) if "listen" in fields else default.listen,
        source=_source(fields["source"].node) if "source" in fields else default.source,
        sampled=_sampled(fields["sampled"].node) if "sampled" in fields else default.sampled,
        stages=_stages(fields["stages"].node) if "stages" in fields else (),
    )


def read_slos(node: Node, spans: SpanSpec) -> tuple[str, ...]:
    """The SLO lines, each once, in order. Raises ScenarioError at the line of a bad one."""
    found: dict[str, None] = {}
    for item in items_of(node, "slo"):
        text_of(item, "each line of slo")
        slo = parsed(item, "", parse_slo)
        if spans.source == "none" and slo.subject not in _CLIENT_SUBJECTS:
            problem = f"SLO {quoted(slo.expression)} needs server spans, and spans has `source: none`"
            raise ScenarioError(problem, "use source: auto, or an SLO on latency", item.where)
        found[slo.expression] = None
    return tuple(found)


def _source(node: Node) -> str:
    what = "the source of spans"
    if isinstance(node, Block):  # jaeger: URL
        fields_of(node, what, SOURCES, _LATER_SOURCES)
        raise ScenarioError(f"{what} takes no address", f"write one of {', '.join(SOURCES)}", node.where)
    kind = text_of(node, what).partition(":")[0].strip()
    if kind in _LATER_SOURCES:
        raise ScenarioError(f"{what} {quoted(kind)} is not supported yet", _OTLP, node.where)
    return choice_of(node, what, SOURCES)


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
