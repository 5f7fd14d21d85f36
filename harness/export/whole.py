"""Files that appear whole or not at all, however they are made; what is no file is written to, never replaced."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from harness.errors import RunFolderError


@contextlib.contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to; it has its name when everything was written. Raises RunFolderError."""
    target = Path(os.path.realpath(path))  # a link stays one
    temporary = target.with_name(f".{target.name[:200]}.{os.getpid()}.tmp")
    try:
        if target.exists() and not target.is_file():  # a device, a pipe: root could put a file into their place
            with target.open("wb") as file:
                yield file
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
        os.replace(temporary, target)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        hint = "free some disk space, or choose another place with -o" if full else "choose another place with -o"
        reason = (os.strerror(error.errno) if error.errno else str(error)).lower()
        raise RunFolderError(f"{path} cannot be written: {reason}", hint) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
