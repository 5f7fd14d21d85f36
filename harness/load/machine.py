"""What the machine under a load process is busy with: CPU time of all, stolen by other guests, withheld by a limit.

Linux. Elsewhere, and where a file cannot be read, the figures are None. Formats: proc(5), cgroups(7), and the kernel's
documentation of cpu.stat.
"""

from __future__ import annotations

import errno
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
_FIRST_FIELDS = 8  # user nice system idle iowait irq softirq steal; guest time after them is part of user


@dataclass(frozen=True, slots=True)
class Machine:
    """A moment: CPU time of all cores in ticks (`total`, `idle`, `stolen`), seconds withheld from each cgroup."""

    at_s: float
    total: int | None
    idle: int | None
    stolen: int | None
    withheld_s: tuple[float, ...]


def look(proc: Path = PROC, cgroups: Path = CGROUPS, clock: Callable[[], float] = time.perf_counter) -> Machine:
    """The counters at this moment."""
    fields = _cpu_fields(proc)
    total, idle, stolen = (sum(fields), fields[3] + fields[4], fields[7]) if fields else (None, None, None)
    return Machine(clock(), total, idle, stolen, _withheld(proc, cgroups))


def stolen_share(before: Machine, after: Machine) -> float | None:
    """CPU time that another guest had while this machine wanted it, as a share of all CPU time, 0..1."""
    return _share(before, after, (after.stolen or 0) - (before.stolen or 0))


def busy_share(before: Machine, after: Machine) -> float | None:
    """CPU time this machine used for anything, as a share of what all its cores have, 0..1."""
    share = _share(before, after, (after.idle or 0) - (before.idle or 0))
    return None if share is None else 1.0 - share


def throttled_share(before: Machine, after: Machine) -> float | None:
    """Time in which a CPU limit kept the cgroup, or one around it, from running; of the time that passed, 0..1.

    The kernel adds it up over cores: 1 means one core was withheld all the time, or more of them a part of it.
    """
    passed_s = after.at_s - before.at_s
    if passed_s <= 0 or not after.withheld_s or len(after.withheld_s) != len(before.withheld_s):
        return None
    worst = max(b - a for a, b in zip(before.withheld_s, after.withheld_s, strict=True))
    return min(1.0, max(0.0, worst / passed_s))


def peak_memory_bytes(proc: Path = PROC) -> float | None:
    """The most memory this process ever had resident. (getrusage would count the parent's, from before exec.)"""
    try:
        lines = (proc / "self/status").read_text().splitlines()
        return next((float(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)
    except (OSError, ValueError, IndexError):
        return None


def descriptors_in_use(proc: Path = PROC) -> float | None:
    """The descriptors this process has open, as a share of those it may have."""
    folder, allowed = proc / "self/fd", resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    try:
        # The size of the folder is the count since Linux 6.2, and 0 before. To list it takes a descriptor.
        return (os.stat(folder).st_size or len(os.listdir(folder))) / allowed
    except OSError as error:
        return 1.0 if error.errno in (errno.EMFILE, errno.ENFILE) else None


def _share(before: Machine, after: Machine, part: int) -> float | None:
    if before.total is None or after.total is None or after.total <= before.total:
        return None
    return min(1.0, max(0.0, part / (after.total - before.total)))  # counters may go back a little: proc(5)


def _cpu_fields(proc: Path) -> list[int] | None:
    try:
        with (proc / "stat").open() as file:
            name, *fields = file.readline().split()
        counters = [int(field) for field in fields[:_FIRST_FIELDS]]
    except (OSError, ValueError):
        return None
    return counters if name == "cpu" and len(counters) == _FIRST_FIELDS else None


# --- cgroups -----------------------------------------------------------------------------------------------


def _withheld(proc: Path, cgroups: Path) -> tuple[float, ...]:
    found = (_withheld_s(file) for folder in _folders(proc, cgroups) for file in [folder / "cpu.stat"])
    return tuple(seconds for seconds in found if seconds is not None)


def _withheld_s(file: Path) -> float | None:
    try:
        counters = dict(line.split() for line in file.read_text().splitlines())
        if "throttled_usec" in counters:  # version 2
            return int(counters["throttled_usec"]) / 1e6
        return int(counters["throttled_time"]) / 1e9 if "throttled_time" in counters else None
    except (OSError, ValueError):
        return None


def _folders(proc: Path, cgroups: Path) -> list[Path]:
    """The cgroup of this process and those around it, as far as they can be seen: any of them may have a limit."""
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers == "" or "cpu" in controllers.split(","):
            root = _root(cgroups, controllers)
            own = root / path.lstrip("/")
            # In a container the path may be the host's, while what is mounted is the container's own cgroup.
            inside = [own, *own.parents] if own.is_dir() and ".." not in own.parts else [root]
            folders = [folder for folder in inside if folder.is_relative_to(root)]
            if any((folder / "cpu.stat").exists() for folder in folders):
                return folders
    return []


def _root(cgroups: Path, controllers: str) -> Path:
    """Where a hierarchy is mounted: version 1 by the names of its controllers, version 2 at the top or in `unified`."""
    if controllers:
        return cgroups / controllers
    return cgroups / "unified" if (cgroups / "unified").is_dir() else cgroups
