"""What the load generator says about itself, in the words that every report shares."""

from __future__ import annotations

from harness.findings import Health, Reading
from harness.report.figures import in_unit
from harness.units import format_share


def generator_line(health: Health) -> str:
    """How well it kept its schedule and what that took: `lateness p99 2.10 ms, worst 12.0 ms; CPU 31% of a core`."""
    known = {reading.name: reading for reading in health.readings}
    parts = (_lateness(known), _cpu(known.get("cpu")))
    return "; ".join(part for part in parts if part)


def _lateness(known: dict[str, Reading]) -> str:
    p99, worst = known.get("lateness_p99"), known.get("lateness_max")
    if p99 is None:
        return ""
    if p99.value is None:
        return f"lateness {p99.absent}" if p99.absent else "lateness not known"
    at_worst = f", worst {in_unit(worst.value, worst.unit)}" if worst is not None and worst.value is not None else ""
    return f"lateness p99 {in_unit(p99.value, p99.unit)}{_of(p99)}{at_worst}"


def _cpu(cpu: Reading | None) -> str:
    return "" if cpu is None or cpu.value is None else f"CPU {in_unit(cpu.value, cpu.unit)} of a core{_of(cpu)}"


def _of(reading: Reading) -> str:
    return f" (worker {reading.worker})" if reading.worker else ""


def stamps_line(health: Health) -> str:
    """A sentence on the answers whose end the kernel did not stamp; empty when it stamped all, or none came."""
    stamped = next((r.value for r in health.readings if r.name == "kernel_stamped"), None)
    if stamped is None or stamped >= 1:
        return ""
    if stamped == 0:
        return "The kernel stamped the end of no answer: all were stamped when the generator read them."
    share = format_share(stamped)
    return f"The kernel stamped the end of {share} of the answers, the generator that of the others when it read them."


def shows_workers(health: Health) -> bool:
    """Whether there are several load processes to tell apart."""
    return any(reading.worker for reading in health.readings)
