"""What this machine's generator can hold, as text: `harness check --generator`."""

from __future__ import annotations

from harness.generator import BUSY, LATENESS_LIMIT_S, USERS, Calibration, Machine, Probe, Stretch
from harness.units import format_count, format_duration, format_rate, format_share

OTHERS = 0.05
"""Share of all cores from which other processes are worth a line."""
_BUSY = "the null server was the limit: at least that much"


def render(found: Calibration) -> str:
    """The table, what limits it, and the advice."""
    machine = found.machine
    lines = [
        f"generator, one load process against a server that does nothing; {machine.cores} usable cores",
        _line("closed loop", _closed(found.closed)),
        _line("open loop", _held(found.held, found.held_by_server)),
        _line(f"at {format_rate(found.calm.stretches[0].offered)}", _calm(found.calm)),
        _line("CPU", _cpu(found)),
        _line("kernel stamps", _stamps(found.calm)),
        _line("timer", machine.timer),
        _line("descriptors", f"{format_count(machine.descriptors)}, one for each connection"),
        *(_line("limit", text) for text in _limits(found)),
        _line("advice", _advice(found)),
    ]
    return "\n".join(lines)


def _line(name: str, text: str) -> str:
    return f"  {name:<14} {text}"


def _closed(probe: Probe) -> str:
    (stretch,) = probe.stretches
    text = f"{format_rate(stretch.per_s)} with {USERS} users"
    if stretch.ok < stretch.requests:
        text += f"; {format_count(stretch.requests - stretch.ok)} of {format_count(stretch.requests)} not answered"
    return f"{text} ({_BUSY})" if _server_bound(probe) else text


def _server_bound(probe: Probe) -> bool:
    return probe.server_busy > BUSY


def _held(held: Stretch | None, by_server: bool) -> str:
    limit = format_duration(LATENESS_LIMIT_S, trim=True)
    if held is None:
        return f"no rate was held with 99 of 100 arrivals less than {limit} late"
    late = f"Poisson arrivals, {_lateness(held)}"
    text = f"{format_rate(held.offered)} held, {late}; limit {limit} at p99"
    return f"{text} ({_BUSY})" if by_server else text


def _calm(probe: Probe) -> str:
    return _lateness(probe.stretches[0])


def _lateness(stretch: Stretch) -> str:
    return f"late by {format_duration(stretch.lateness_p50_s)} at p50, {format_duration(stretch.lateness_p99_s)} at p99"


def _cpu(found: Calibration) -> str:
    busy, calm = found.closed.cpu_us, found.calm.cpu_us
    (stretch,) = found.calm.stretches
    share = None if calm is None else calm * stretch.per_s / 1e6
    each = format_duration(None if busy is None else busy / 1e6)
    return f"{each} a request in the closed loop; {format_share(share)} of a core at {format_rate(stretch.offered)}"


def _stamps(probe: Probe) -> str:
    if probe.kernel_stamped == 0:
        return "none: the end of an answer is when the generator got round to reading it"
    return f"of {format_share(probe.kernel_stamped)} of the answers: a busy generator does not inflate latency"


def _limits(found: Calibration) -> list[str]:
    """What kept the generator from more, as far as it was seen."""
    limits = _lost(found.machine)
    if _server_bound(found.closed) or found.held_by_server:
        limits.append("the null server, which had no core left")
    return limits or ["its own CPU: a load process uses one core"]


def _lost(machine: Machine) -> list[str]:
    """Only what was seen to be taken."""
    found = []
    if machine.others is not None and machine.others > OTHERS:
        found.append(f"other processes used {format_share(machine.others)} of this machine meanwhile: stop them first")
    if machine.stolen is not None and machine.stolen > 0.001:
        found.append(f"{format_share(machine.stolen)} of the time was taken by other machines on this host (steal)")
    if machine.throttled:
        found.append(f"this container was throttled for {format_share(machine.throttled)} of the time")
    return found


def _advice(found: Calibration) -> str:
    if found.held is None or found.held.offered is None:
        why = "too busy" if (found.machine.others or 0.0) > OTHERS else "too slow"
        return f"this machine is {why} to generate load on time: measure from another one"
    most = format_rate(_rounded_down(found.held.offered))
    text = f"up to {most} with one load process"
    if found.machine.cores > 2:
        return f"{text}; beyond that use --processes"
    if found.machine.cores == 2:
        return f"{text} that has a core to itself; a service on this machine takes its share"
    return f"{text}; one core for the generator and the service: measure from another machine if you can"


def _rounded_down(rate: float) -> float:
    """Two digits are what a short run can promise."""
    unit = 10.0 ** max(0, len(str(int(rate))) - 2)
    return rate // unit * unit
