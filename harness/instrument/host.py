"""Which kernel this is: processes with the same key share one CLOCK_REALTIME, containers on one host included."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
UNKNOWN = "-"


@functools.cache
def host_key(path: Path = BOOT_ID) -> str:
    """First 12 hex digits of the SHA-256 of the boot id (stripped), or "-" where there is none to read."""
    try:
        return hashlib.sha256(path.read_bytes().strip()).hexdigest()[:12]
    except OSError:
        return UNKNOWN
