"""Runs over time: a row each, oldest first, and where a figure became another one."""

from __future__ import annotations

import math
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.baseline.stored import stored
from harness.commands.history import command
from harness.errors import HarnessError, RunFolderError, UsageError
from harness.history import histories, history
from harness.report import history_text
from harness.run_folder import RunFolder
from tests.builders import T0
from tests.stored_runs import BAD, NOISE, copied, some_runs, some_samples, store


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return store(tmp_path_factory.mktemp("original") / "original", some_samples())


def shown(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def refused(*arguments: str | Path) -> HarnessError:
    error = shown(*arguments).exception
    assert isinstance(error, HarnessError)
    return error


# --- found ------------------------------------------------------------------------------------------------------


def test_the_rows_stand_in_the_order_of_time(original: RunFolder, tmp_path: Path) -> None:
    for name, hour in (("c", 1), ("a", 2), ("b", 3)):
        copied(original, tmp_path / name, hour)

    (found,) = histories(tmp_path).histories

    assert [row.run.run_id for row in found.rows] == ["c", "a", "b"]
    assert found.rows[0].p50_s == 0.074
    assert found.rows[0].error_rate == 0.0


def test_each_scenario_has_its_own_history(original: RunFolder, tmp_path: Path) -> None:
    copied(original, tmp_path / "one", 1)
    copied(original, tmp_path / "two", 2, scenario="detect")

    assert [each.scenario for each in histories(tmp_path).histories] == ["detect", "read"]
    assert [each.scenario for each in histories(tmp_path, "detect").histories] == ["detect"]


def test_a_change_is_found_where_it_is(original: RunFolder, tmp_path: Path) -> None:
    some_runs(original, tmp_path, 10)
    some_runs(original, tmp_path, 10, first=11, p50=1.2, p95=1.2)

    (found,) = histories(tmp_path).histories

    assert [(each.metric, each.before_run, each.after_run) for each in found.changes] == [
        ("p50", "run-010", "run-011"),
        ("p95", "run-010", "run-011"),
    ]
    assert found.changes[1].before == pytest.approx(0.0972, abs=1e-4)  # 97 ms times the mean of the ten factors
    assert re.fullmatch(
        r"p95 rose from 97\.2 ms to 116 ms \(\+19\.\d%\) between run run-010 and run run-011, p = 0\.00\d+\.",
        found.changes[1].sentence,
    )


def test_runs_that_only_vary_have_no_change(original: RunFolder, tmp_path: Path) -> None:
    some_runs(original, tmp_path, 12)

    (found,) = histories(tmp_path).histories

    assert found.changes == ()
    assert found.sentences == ("No change was found over 12 runs.",)


def test_a_slow_drift_is_told_apart_from_a_change(original: RunFolder, tmp_path: Path) -> None:
    for number in range(1, 31):
        factor = 1.02**number * NOISE[number % 12]
        copied(original, tmp_path / f"run-{number:03}", number, p50=factor)

    (found,) = histories(tmp_path).histories

    assert found.changes == ()
    assert found.sentences[0].startswith("p50 rose little by little, by +")
    assert "No change" not in " ".join(found.sentences)


def test_few_runs_say_how_many_it_takes(original: RunFolder, tmp_path: Path) -> None:
    some_runs(original, tmp_path, 3)

    assert histories(tmp_path).histories[0].sentences == (
        "To find a change takes at least 8 runs, 4 on either side of it; there are 3.",
    )


def test_an_error_rate_that_rose_is_a_change(original: RunFolder, tmp_path: Path) -> None:
    for number in range(1, 25):  # 0 to 3 of 200 fail, then 10 to 13
        failed = number % 4 + (10 if number > 12 else 0)
        copied(original, tmp_path / f"run-{number:03}", number, counts={"ok": 200 - failed, "failed": failed})

    (found,) = histories(tmp_path).histories

    assert [each.sentence.split(",")[0] for each in found.changes] == [
        "error rate rose from 0.75% to 5.75% between run run-012 and run run-013"
    ]


def test_the_throughput_is_looked_at_in_a_closed_loop_only(original: RunFolder, tmp_path: Path) -> None:
    for number in range(1, 25):
        rate = {"completed_per_s": (20.0 if number <= 12 else 15.0) * NOISE[number % 12]}
        copied(original, tmp_path / "open" / f"run-{number:03}", number, counts=rate)
        copied(original, tmp_path / "closed" / f"run-{number:03}", number, counts=rate | {"offered_per_s": None})

    assert histories(tmp_path / "open").histories[0].changes == ()
    (change,) = histories(tmp_path / "closed").histories[0].changes
    assert change.sentence.startswith("throughput fell from 20/s to 15/s (-25.0%) between run run-012 and run run-013")


def test_percentiles_among_failed_requests_are_no_trouble(original: RunFolder, tmp_path: Path) -> None:
    runs = [stored(folder) for folder in some_runs(original, tmp_path, 30)]
    dead = [
        replace(run, values={**run.values, "p95": math.inf}) if number >= 15 else run for number, run in enumerate(runs)
    ]

    found = history("read", dead)

    assert [each.metric for each in found.changes] == ["p95"]
    assert "to no answer between run run-015 and run run-016" in found.changes[0].sentence


def test_runs_without_a_known_figure_are_no_trouble(original: RunFolder, tmp_path: Path) -> None:
    runs = [stored(folder) for folder in some_runs(original, tmp_path, 9)]
    unknown = [replace(run, values=dict.fromkeys(run.values)) for run in runs]

    found = history("read", unknown)

    assert found.changes == ()
    assert "–" in history_text.render([found], (), width=100, colour=False)


def test_invalid_and_interrupted_runs_are_shown_and_not_looked_at(original: RunFolder, tmp_path: Path) -> None:
    some_runs(original, tmp_path, 8)
    copied(original, tmp_path / "bad", 20, p50=9.0, **BAD)
    copied(original, tmp_path / "short", 21, interrupted=True, p50=9.0)

    (found,) = histories(tmp_path).histories

    assert [row.run.run_id for row in found.rows if not row.counted] == ["bad", "short"]
    assert found.changes == ()
    assert "2 runs are interrupted or invalid: shown, and not looked at for changes." in found.sentences


def test_runs_of_another_load_or_machine_are_not_looked_at(original: RunFolder, tmp_path: Path) -> None:
    some_runs(original, tmp_path, 8, load="constant 40/s, 0 s warm-up, 10 s, seed 1", p50=2.0)
    some_runs(original, tmp_path, 8, first=9, environment={"cpu": "another one"}, p50=3.0)
    some_runs(original, tmp_path, 8, first=17)

    (found,) = histories(tmp_path).histories

    assert sum(row.counted for row in found.rows) == 8
    assert found.changes == ()
    assert found.sentences[-1].startswith("16 runs are of another load or machine than the newest")


def test_another_seed_is_the_same_load(original: RunFolder, tmp_path: Path) -> None:
    for number in range(1, 4):
        copied(original, tmp_path / f"run-{number}", number, load=f"constant 20/s, 0 s warm-up, 10 s, seed {number}")

    assert all(row.counted for row in histories(tmp_path).histories[0].rows)


def test_the_commit_of_a_run_is_shown_where_it_is_known(original: RunFolder, tmp_path: Path) -> None:
    copied(original, tmp_path / "known", 1, environment={"commit": "3f2a91c07e55"})
    copied(original, tmp_path / "not-known", 2)

    (found,) = histories(tmp_path).histories

    assert [row.commit for row in found.rows] == ["3f2a91c07e55", None]
    assert "3f2a91c07e55" in history_text.render([found], (), width=120, colour=False)


# --- folders that are odd --------------------------------------------------------------------------------------


def test_a_folder_without_runs_is_refused_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()

    with pytest.raises(RunFolderError, match="holds no runs") as refusal:
        histories(tmp_path)
    assert refusal.value.hint is not None


@pytest.mark.parametrize("name", ["missing", "file"])
def test_what_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(RunFolderError, match="cannot be read"):
        histories(tmp_path / name)


def test_an_unknown_scenario_is_answered_with_the_known_ones(original: RunFolder, tmp_path: Path) -> None:
    copied(original, tmp_path / "one", 1)

    with pytest.raises(UsageError, match="has no run of the scenario 'rea'") as refusal:
        histories(tmp_path, "rea")
    assert refusal.value.hint == "did you mean 'read'?"


def test_a_run_that_cannot_be_read_is_named_and_left_out(original: RunFolder, tmp_path: Path) -> None:
    copied(original, tmp_path / "good", 1)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    half = copied(original, tmp_path / "half", 2)
    half.summary_json.unlink()
    half.samples.unlink()

    found = histories(tmp_path)

    assert [row.run.run_id for row in found.histories[0].rows] == ["good"]
    assert [name for name, _ in found.unread] == ["broken", "half"]
    assert "not read: broken" in shown(tmp_path).output


def test_a_folder_of_broken_runs_only_says_why(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")

    with pytest.raises(RunFolderError, match="its only run cannot be read"):
        histories(tmp_path)


def test_a_run_that_was_killed_is_shown_as_invalid(original: RunFolder, tmp_path: Path) -> None:
    killed = copied(original, tmp_path / "killed", 1, record={"status": "running"})
    killed.summary_json.unlink()

    (row,) = histories(tmp_path).histories[0].rows

    assert (row.run.verdict, row.counted) == ("invalid", False)


def test_a_thousand_runs_take_no_time(original: RunFolder, tmp_path: Path) -> None:
    summary, record = original.summary_json.read_bytes(), original.run_json.read_bytes()
    for number in range(1000):
        folder = tmp_path / f"run-{number:04}"
        folder.mkdir()
        (folder / "run.json").write_bytes(record)
        started = str(T0 + number).encode()
        (folder / "summary.json").write_bytes(summary.replace(str(T0).encode(), started))

    begin = time.process_time()
    found = histories(tmp_path)

    assert len(found.histories[0].rows) == 1000
    assert time.process_time() - begin < 3.0
