"""Tags of a run: short words of its owner, kept in `tags.json` beside it, so that they can change when it is over."""

from __future__ import annotations

from collections.abc import Sequence

from harness.errors import RunFolderError, UsageError
from harness.run_folder import RunFolder
from harness.units import quoted

FILE = "tags.json"
MOST = 20
LONGEST = 40


def read_tags(folder: RunFolder) -> tuple[str, ...]:
    """The tags of a run; none where the file is missing or holds something else."""
    try:
        return checked(folder.read_json(FILE))
    except (RunFolderError, UsageError):
        return ()


def write_tags(folder: RunFolder, tags: Sequence[str]) -> tuple[str, ...]:
    """Replace the tags of a run; what is kept of them. Raises UsageError, RunFolderError."""
    kept = checked(list(tags))
    folder.write_json(FILE, list(kept))
    return kept


def checked(tags: object) -> tuple[str, ...]:
    """Tags without blanks around them, each once, in their order. Raises UsageError for what is none."""
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise UsageError("tags are a list of texts", "e.g. release or gpu-a10")
    kept = tuple(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
    if len(kept) > MOST:
        raise UsageError(f"{len(kept)} tags are too many for one run", f"give at most {MOST}")
    for tag in kept:
        if len(tag) > LONGEST or not tag.isprintable():
            raise UsageError(f"{quoted(tag, LONGEST)} is no tag", f"at most {LONGEST} characters that can be printed")
    return kept
