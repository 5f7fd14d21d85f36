"""The machine a run was made on: what has to be equal before two runs may be compared."""

from __future__ import annotations

import os
import platform
import re
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
        "commit": _commit(),
    }
    return tuple((name, text) for name, text in known.items() if text)


def _commit() -> str:
    """What is checked out where the run was started, 12 digits: as a build server says, else as .git says."""
    told = os.environ.get("GITHUB_SHA") or os.environ.get("CI_COMMIT_SHA") or ""
    try:
        here = Path.cwd()
        mark = next((folder / ".git" for folder in (here, *here.parents) if (folder / ".git").exists()), None)
    except OSError:  # the folder is gone, or may not be read
        mark = None
    found = told or (_checked_out(mark) if mark is not None else "")
    return found[:12] if re.fullmatch(r"[0-9a-f]{40,64}", found) else ""


def _checked_out(mark: Path) -> str:
    """The commit of a working tree. In one made by `git worktree` the mark is a file that names its own folder."""
    folder = mark if mark.is_dir() else mark.parent / _first_line(mark).removeprefix("gitdir:").strip()
    head = _first_line(folder / "HEAD")
    if not head.startswith("ref:"):
        return head
    name = head.removeprefix("ref:").strip()
    shared = folder / (_first_line(folder / "commondir") or ".")
    packed = _text(shared / "packed-refs")
    return _first_line(shared / name) or next(
        (line.split()[0] for line in packed.splitlines() if line.endswith(f" {name}")), ""
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _first_line(path: Path) -> str:
    return next(iter(_text(path).splitlines()), "").strip()


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
