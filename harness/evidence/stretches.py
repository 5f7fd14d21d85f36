"""When which phase and step of the load was measured."""

from __future__ import annotations

from dataclasses import dataclass

from harness.model import LoadProfile, Phase


@dataclass(frozen=True, slots=True)
class Stretch:
    """From `from_ns` (epoch) on, `seconds` long: the warm-up, or one step of the measured phase."""

    phase: str
    step: int
    from_ns: int
    seconds: float

    @property
    def until_ns(self) -> int:
        """Its end."""
        return self.from_ns + round(self.seconds * 1e9)


def stretches(load: LoadProfile, from_ns: int, measured_s: float) -> tuple[Stretch, ...]:
    """Those of a run whose measured phase began at `from_ns` and lasted `measured_s`.

    Steps that the run did not get to are 0 s long; the last one lasts as long as the run did.
    """
    begin_ns = from_ns - round(load.warmup_s * 1e9)
    found = [Stretch(Phase.WARMUP.value, 0, begin_ns, load.warmup_s)]
    at_s, last = 0.0, len(load.steps) - 1
    for number, step in enumerate(load.steps):
        left = max(0.0, measured_s - at_s)
        length = left if number == last else min(step.duration_s, left)
        found.append(Stretch(Phase.MEASURE.value, number, from_ns + round(at_s * 1e9), length))
        at_s += length
    return tuple(found)
