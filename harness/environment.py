"""The machine a run was made on: what has to be equal before two runs may be compared."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from harness import __version__


def fingerprint() -> tuple[tuple[str, str], ...]:
    """Name -> text, in the order they are shown. Nothing in it identifies a person or a network."""
    known = {
        "harness": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpu": _cpu_model(),
        "cores": f"{len(os.sched_getaffinity(0))} usable of {os.cpu_count()}",
        "memory": _memory(),
        "governor": _first_line(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "load average": _load_average(),
        "byte order": sys.byteorder,
    }
    return tuple((name, text) for name, text in known.items() if text)


def _first_line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()[0].strip()
    except (OSError, IndexError):
        return ""


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
    except (OSError, ValueError):
        return ""


def _load_average() -> str:
    try:
        return f"{os.getloadavg()[0]:.2f} when the run began"
    except OSError:
        return ""
