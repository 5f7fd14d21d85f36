"""Tags of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.run_folder import RunFolder
from harness.tags import checked, read_tags, write_tags


def test_tags_are_kept_once_in_their_order_without_blanks(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)

    assert write_tags(folder, [" release ", "gpu", "release", ""]) == ("release", "gpu")
    assert read_tags(folder) == ("release", "gpu")


@pytest.mark.parametrize(
    "tags", ["release", [1], ["x" * 41], ["a\nb"], ["\u202eright to left"], [str(i) for i in range(21)]]
)
def test_what_is_no_list_of_short_printable_words_is_refused(tags: object) -> None:
    with pytest.raises(UsageError):
        checked(tags)


@pytest.mark.parametrize("content", [None, "{", '{"a": 1}', '["' + "x" * 100 + '"]'])
def test_a_run_without_tags_or_with_a_damaged_file_has_none(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tags.json").write_text(content)

    assert read_tags(RunFolder(tmp_path)) == ()
