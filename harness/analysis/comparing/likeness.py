"""Whether two runs may be held against each other: where they were made, what was sent, how it was measured.

A difference matters where it changes latencies by itself, whatever the code under test does: another machine, another
load, another mix, other payloads. The rest is said beside the figures. That the two were aimed at different addresses,
on different days, is what comparing is for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from harness.analysis.comparing.mix import Sent, mix_differences
from harness.comparison import Difference
from harness.model import Arrivals, LoadProfile, Replay, RequestSpec, SpanSpec, Split, Step
from harness.units import format_count, format_duration, format_rate, format_share

DECIDING = ("machine", "cpu", "cores", "governor")
"""Of the environment: with another one the same code has other latencies."""
BESIDE = ("harness", "python", "system", "memory")
_UNSET = "none"
_SAME_LEVEL = 0.01
_RATE_OFF, _DEVIATIONS = 0.05, 4.0
_SHARE_OFF = 0.05
_LENGTH_OFF = 0.01
_BUSIER = 0.5
"""Of the cores: a load average that differs by more was another machine to run on."""


@dataclass(frozen=True, slots=True, eq=False)
class Circumstances:
    """What has to be alike of two runs. `doubts` are the reasons why a run is invalid, suspect or not whole."""

    place: str  # the run folder, resolved
    scenario: str
    target: str
    loopback: bool
    environment: Mapping[str, str]
    load: LoadProfile
    spans: SpanSpec
    requests: tuple[RequestSpec, ...]
    services: tuple[str, ...]  # a name for each process of the service that gave a server half
    sent: Sent
    offered_per_s: float | None
    split: Mapping[str, int]  # Split value -> ok requests
    kernel: float | None  # share of the answers stamped by the kernel
    doubts: tuple[str, ...]


def differences(a: Circumstances, b: Circumstances) -> tuple[Difference, ...]:
    """In what A and B differ, what matters first."""
    if a.place == b.place:
        sentence = "A and B are the same run: nothing can differ"
        return (Difference("run", a.place, b.place, False, sentence), *_doubts(a, b))
    found = [
        *_environment(a, b), *_load(a.load, b.load), *_offered(a, b), *mix_differences(a.sent, b.sent),
        *_aim(a, b), *_measuring(a, b), *_doubts(a, b),
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda difference: not difference.matters))


def _said(what: str, a: str, b: str, matters: bool, because: str = "") -> Difference:
    told = f"{what}: {a or _UNSET} in A, {b or _UNSET} in B"
    return Difference(what, a or _UNSET, b or _UNSET, matters, f"{told}; {because}" if because else told)


# --- where it was made -------------------------------------------------------------------------------------


def _environment(a: Circumstances, b: Circumstances) -> Iterator[Difference]:
    mine, other = a.environment, b.environment
    if bool(mine) != bool(other):
        which = "A" if other else "B"
        yield Difference("machine", "", "", False, f"the machine of {which} is not known: it may be another one")
        return
    for name in (*DECIDING, *BESIDE):
        if name in mine and name in other and mine[name] != other[name]:
            yield _said(name, mine[name], other[name], name in DECIDING)
    busy_a, busy_b, cores = (_number(x) for x in (mine.get("load average"), other.get("load average"),
                                                  mine.get("cores")))  # fmt: skip
    if busy_a is not None and busy_b is not None and cores and abs(busy_b - busy_a) > _BUSIER * cores:
        busier = "B" if busy_b > busy_a else "A"
        yield _said("load average", f"{busy_a:.2f}", f"{busy_b:.2f}", False, f"the machine was busier before {busier}")


def _number(text: str | None) -> float | None:
    found = re.match(r"\s*([0-9]+(?:\.[0-9]+)?)", text or "")
    return float(found[1]) if found else None


def _aim(a: Circumstances, b: Circumstances) -> Iterator[Difference]:
    if a.scenario != b.scenario:
        yield _said("scenario", a.scenario, b.scenario, False)
    if a.loopback != b.loopback:
        way_a, way_b = ("this host" if side.loopback else "over a network" for side in (a, b))
        yield _said("way", way_a, way_b, False, "transfer differs for that alone")
    scheme_a, scheme_b = (urlsplit(side.target).scheme for side in (a, b))
    if scheme_a != scheme_b:
        yield _said("scheme", scheme_a, scheme_b, False, "TLS is in connect")
    yield from _services(a.services, b.services)
    other = {request.name: request for request in b.requests}
    for request in a.requests:
        twin = other.get(request.name)
        if twin is not None and request.timeout_s != twin.timeout_s:
            mine, others = _length(request.timeout_s), _length(twin.timeout_s)
            yield _said(f"timeout of {request.name}", mine, others, False, "what is slower than that has failed")


def _services(a: tuple[str, ...], b: tuple[str, ...]) -> Iterator[Difference]:
    if not a or not b:
        return
    names_a, names_b = (", ".join(sorted(set(names))) for names in (a, b))
    if names_a != names_b:
        yield _said("service", names_a, names_b, False)
    if len(a) != len(b):
        yield _said("processes of the service", format_count(len(a)), format_count(len(b)), False)


# --- what was sent -----------------------------------------------------------------------------------------


def _load(a: LoadProfile, b: LoadProfile) -> Iterator[Difference]:
    if a.arrivals is not b.arrivals:
        yield _said("arrivals", a.arrivals.value, b.arrivals.value, True)
        return
    closed = a.arrivals is Arrivals.USERS
    if not _same_levels(a.steps, b.steps):
        what = "users" if closed else "rate"
        yield _said(what, _levels(a.steps, closed), _levels(b.steps, closed), True)
    elif any(_apart(x.duration_s, y.duration_s, _LENGTH_OFF) for x, y in zip(a.steps, b.steps, strict=True)):
        yield _said("duration", _length(a.measured_s), _length(b.measured_s), len(a.steps) > 1)
    if closed and a.think_s != b.think_s:
        yield _said("think time", _think(a.think_s), _think(b.think_s), True)
    if _recording(a.replay) != _recording(b.replay):
        yield _said("recording", _recording(a.replay), _recording(b.replay), True)
    if a.warmup_s != b.warmup_s:
        yield _said("warm-up", _length(a.warmup_s), _length(b.warmup_s), False)
    if a.seed != b.seed and a.arrivals is not Arrivals.REPLAY:
        because = "arrivals and payloads were drawn anew, which is part of the noise"
        yield _said("seed", str(a.seed), str(b.seed), False, because)


def _think(between_s: tuple[float, float]) -> str:
    return f"{_length(between_s[0])} to {_length(between_s[1])}"


def _same_levels(a: tuple[Step, ...], b: tuple[Step, ...]) -> bool:
    def same(x: Step, y: Step) -> bool:
        ends = (x.level if x.to is None else x.to, y.level if y.to is None else y.to)
        return not _apart(x.level, y.level, _SAME_LEVEL) and not _apart(*ends, _SAME_LEVEL)

    return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))


def _levels(steps: tuple[Step, ...], closed: bool) -> str:
    def written(level: float) -> str:
        return format_count(round(level)) if closed else format_rate(level)

    texts = [written(s.level) if s.to is None else f"{written(s.level)} to {written(s.to)}" for s in steps]
    return ", ".join(texts) if len(texts) <= 4 else f"{texts[0]}, ..., {texts[-1]} ({len(texts)} steps)"


def _recording(replay: Replay | None) -> str:
    return "" if replay is None else f"{os.path.basename(replay.path.rstrip('/'))} at {replay.speed:g}x"


def _offered(a: Circumstances, b: Circumstances) -> Iterator[Difference]:
    """Planned alike, sent otherwise: a run that broke off, or a generator that could not keep up."""
    rates, counts = (a.offered_per_s, b.offered_per_s), [sum(side.sent.counts.values()) for side in (a, b)]
    if not rates[0] or not rates[1] or not all(counts) or not _same_levels(a.load.steps, b.load.steps):
        return
    off = abs(rates[1] / rates[0] - 1.0)
    if off > max(_RATE_OFF, _DEVIATIONS * (1.0 / counts[0] + 1.0 / counts[1]) ** 0.5):
        yield _said("rate as sent", format_rate(rates[0]), format_rate(rates[1]), False, "the plan was the same")


def same_draw(a: Circumstances, b: Circumstances) -> bool:
    """Whether both runs sent the same requests at the same instants of their schedules."""
    one, other = a.load, b.load
    if one.arrivals is Arrivals.USERS or a.place == b.place:
        return False
    drawn = [(x.arrivals, x.steps, x.warmup_s, x.seed, x.replay) for x in (one, other)]
    mixes = [[(request.name, request.weight) for request in side.requests] for side in (a, b)]
    return drawn[0] == drawn[1] and mixes[0] == mixes[1] and a.sent.counts == b.sent.counts


# --- how it was measured -----------------------------------------------------------------------------------


def _measuring(a: Circumstances, b: Circumstances) -> Iterator[Difference]:
    split_a, split_b = (_shares(side.split) for side in (a, b))
    if split_a and split_b and any(abs(split_a.get(k, 0.0) - split_b.get(k, 0.0)) > _SHARE_OFF for k in Split):
        bare = [
            name for name, shares in (("A", split_a), ("B", split_b)) if shares.get(Split.NONE, 0.0) > 1 - _SHARE_OFF
        ]
        because = f"no stage of {bare[0]} is known" if bare else "stages do not mean quite the same"
        yield _said("server halves", _halves(split_a), _halves(split_b), False, because)
    if (a.spans.stages, a.spans.preset) != (b.spans.stages, b.spans.preset):
        sentence = "spans are mapped to stages in another way: a stage may hold other work"
        yield Difference("stages", a.spans.preset or "own", b.spans.preset or "own", False, sentence)
    if a.spans.sampled != b.spans.sampled:
        yield _said("sampled", format_share(a.spans.sampled), format_share(b.spans.sampled), False,
                    "recording costs the service time")  # fmt: skip
    if a.kernel is not None and b.kernel is not None and abs(a.kernel - b.kernel) > 0.5:
        yield _said("answers stamped by the kernel", format_share(a.kernel), format_share(b.kernel), False,
                    "without that a busy generator is in the latency")  # fmt: skip


def _shares(split: Mapping[str, int]) -> dict[str, float]:
    total = sum(split.values())
    return {kind: n / total for kind, n in split.items()} if total else {}


def _halves(shares: Mapping[str, float]) -> str:
    largest = sorted(shares.items(), key=lambda each: -each[1])
    return ", ".join(f"{kind} {format_share(share)}" for kind, share in largest if share)


def _doubts(a: Circumstances, b: Circumstances) -> Iterator[Difference]:
    for name, side in (("A", a), ("B", b)):
        for doubt in side.doubts:
            yield Difference("doubt", *((doubt, "") if name == "A" else ("", doubt)), False, f"{name} {doubt}")


def _apart(a: float, b: float, share: float) -> bool:
    return abs(a - b) > share * max(abs(a), abs(b))


def _length(seconds: float) -> str:
    return format_duration(seconds, trim=True)
