"""What a run was going to do, as far as a look at it needs it: from its run.json, written before it began."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import accumulate

from pydantic import TypeAdapter

from harness.arrivals import phase_at, users_at
from harness.errors import RunFolderError
from harness.model import Arrivals, LoadProfile, Scenario, SpanSpec
from harness.record import validated
from harness.run_folder import RunFolder

_AT_A_RATE = (Arrivals.POISSON, Arrivals.CONSTANT)


@dataclass(frozen=True, slots=True)
class Planned:
    """`load` is None when run.json cannot be read: then the spans are those of a scenario that says nothing."""

    spans: SpanSpec
    loopback: bool
    load: LoadProfile | None

    @classmethod
    def of(cls, folder: RunFolder) -> Planned:
        """Of a run, however damaged."""
        try:
            record = validated(folder.read_json("run.json"), folder.run_json)
        except RunFolderError:
            return cls(SpanSpec(), False, None)
        scenario = TypeAdapter(Scenario).validate_python(record["plan"])
        return cls(scenario.spans, bool(record["loopback"]), scenario.load)

    def offered_per_s(self, elapsed_s: float) -> float | None:
        """What the schedule asks for at an instant of the run; None where no rate is planned."""
        load = self.load
        if load is None or load.arrivals not in _AT_A_RATE:
            return None
        if elapsed_s < load.warmup_s:
            return load.steps[0].level
        number = phase_at(load, elapsed_s)[1]
        step = load.steps[number]
        if step.to is None:
            return step.level
        began_s = list(accumulate((each.duration_s for each in load.steps), initial=load.warmup_s))[number]
        share = min(1.0, max(0.0, (elapsed_s - began_s) / step.duration_s))
        return step.level + (step.to - step.level) * share

    def users(self, elapsed_s: float) -> int | None:
        """The users of a closed loop at an instant of the run."""
        if self.load is None or self.load.arrivals is not Arrivals.USERS:
            return None
        return next((crew.users for crew in _crews(self.load) if elapsed_s < crew.to_s), 0)


_crews = functools.lru_cache(maxsize=8)(users_at)
