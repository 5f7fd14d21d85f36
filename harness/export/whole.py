"""Files that appear whole or not at all, however they are made."""

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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
        os.replace(temporary, path)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        hint = "free some disk space, or choose another place with -o" if full else "choose another place with -o"
        reason = (os.strerror(error.errno) if error.errno else str(error)).lower()
        raise RunFolderError(f"{path} cannot be written: {reason}", hint) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
