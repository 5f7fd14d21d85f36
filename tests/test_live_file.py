"""What a run says of itself while it is on: written by the run, whatever happens to it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from harness.errors import Interrupted
from harness.following.lines import FILE, Lines
from harness.run.live_file import recording
from harness.run_folder import RunFolder

PROGRESS = {"kind": "progress", "phase": "measure", "elapsed_s": 1.0, "ok": 3}


def lines(folder: RunFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder.path / FILE).read_text().splitlines()]


def test_the_first_line_says_which_process_it_is_and_the_last_how_it_ended(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    told: list[object] = []
    with recording(folder, told.append) as on_event:
        on_event(PROGRESS)

    first, progress, last = lines(folder)
    assert (first["pid"], first["phase"]) == (os.getpid(), "starting")
    assert progress.pop("at_ns") >= first["at_ns"]
    assert progress == PROGRESS
    assert last["phase"] == "finished"
    assert told == [PROGRESS]


def test_more_than_two_lines_a_second_are_thinned_but_no_phase_is_lost(tmp_path: Path) -> None:
    with recording(RunFolder(tmp_path), lambda event: None) as on_event:
        for _ in range(50):
            on_event(PROGRESS)
        on_event({"phase": "spans"})

    assert [line["phase"] for line in lines(RunFolder(tmp_path))] == ["starting", "measure", "spans", "finished"]


@pytest.mark.parametrize(("error", "phase"), [(Interrupted("x"), "interrupted"), (RuntimeError("x"), "broken")])
def test_a_run_that_raises_says_so_in_its_last_line(tmp_path: Path, error: Exception, phase: str) -> None:
    with pytest.raises(type(error)), recording(RunFolder(tmp_path), lambda event: None):
        raise error

    assert lines(RunFolder(tmp_path))[-1]["phase"] == phase


def test_a_run_that_was_stopped_and_concluded_was_interrupted(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with recording(folder, lambda event: None):
        folder.write_json("run.json", {"status": "interrupted"})

    assert lines(folder)[-1]["phase"] == "interrupted"


def test_a_full_disk_does_not_disturb_the_run(tmp_path: Path) -> None:
    (tmp_path / FILE).symlink_to("/dev/full")
    told: list[object] = []
    with recording(RunFolder(tmp_path), told.append) as on_event:
        on_event(PROGRESS)

    assert told == [PROGRESS]


def test_names_of_errors_are_cut(tmp_path: Path) -> None:
    with recording(RunFolder(tmp_path), lambda event: None) as on_event:
        on_event({**PROGRESS, "errors": {f"{number}{'x' * 10_000}": 1 for number in range(50)}})

    errors = lines(RunFolder(tmp_path))[1]["errors"]
    assert len(errors) == 20
    assert max(map(len, errors)) == 200


def test_a_run_is_on_until_its_last_line(tmp_path: Path) -> None:
    seen = Lines(tmp_path)
    seen.poll()
    assert not seen.on
    with recording(RunFolder(tmp_path), lambda event: None) as on_event:
        on_event(PROGRESS)
        seen.poll()
        assert (seen.on, seen.phase, seen.progress["ok"]) == (True, "measure", 3)
    seen.poll()
    assert (seen.on, seen.ended) == (False, True)


def test_a_process_of_another_time_with_the_same_id_is_another_one(tmp_path: Path) -> None:
    with recording(RunFolder(tmp_path), lambda event: None):
        first = lines(RunFolder(tmp_path))[0]
    (tmp_path / FILE).write_text(json.dumps({**first, "born_s": first["born_s"] - 3600}) + "\n")
    seen = Lines(tmp_path)
    seen.poll()

    assert (seen.phase, seen.on) == ("starting", False)


@pytest.mark.parametrize(
    "text", [b"", b"\0\xff\n\n[1]\n", b'{"pid": "x", "phase": 5}\n{"phase": "measure"', b"[" * 100_000]
)
def test_a_damaged_file_is_a_run_that_is_not_on(tmp_path: Path, text: bytes) -> None:
    (tmp_path / FILE).write_bytes(text)
    seen = Lines(tmp_path)
    seen.poll()

    assert not seen.on


def test_of_a_long_file_only_its_ends_are_read(tmp_path: Path) -> None:
    with (tmp_path / FILE).open("w") as file:
        file.write('{"pid":1,"phase":"starting"}\n')
        file.writelines(json.dumps({**PROGRESS, "ok": number}) + "\n" for number in range(20_000))
    seen = Lines(tmp_path)
    seen.poll()

    assert (seen.first["pid"], seen.progress["ok"]) == (1, 19_999)
