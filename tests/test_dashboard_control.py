"""What may be started from a page, and how it is read: no process is started here."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.dashboard.control import Control, Unconfirmed
from harness.dashboard.starting import Wanted, choices, of_the_form, ready
from harness.errors import HarnessError, UsageError
from tests.dashboard_support import settings_of

GOOD = (
    "target: http://127.0.0.1:9\nrequests: [{name: one, http: GET /}]\nload: {rate: 5/s, duration: 10s, warmup: 0s}\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    scenarios = tmp_path / "scenarios"
    (scenarios / "deep").mkdir(parents=True)
    (scenarios / "good.yaml").write_text(f"scenario: good\n{GOOD}")
    (scenarios / "deep" / "users.yml").write_text(GOOD.replace("rate: 5/s", "users: 4").replace("target:", "target:  "))
    (scenarios / "wrong.yaml").write_text(f"scenario: wrong\n{GOOD}slo: [nonsense]\n")
    (scenarios / "compose.yaml").write_text("services: {}\n")
    (tmp_path / "outside.yaml").write_text(f"scenario: outside\n{GOOD}")
    return scenarios


def test_scenarios_are_found_and_other_files_are_not(folder: Path) -> None:
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "x.yaml").write_text(f"scenario: x\n{GOOD}")
    (folder / "link.yaml").symlink_to(folder.parent / "outside.yaml")

    assert [each.name for each in choices(folder)] == ["deep/users.yml", "good.yaml", "wrong.yaml"]


def test_a_choice_says_what_it_would_do_or_why_it_cannot(folder: Path) -> None:
    users, good, wrong = choices(folder)

    assert good.line == "good -> http://127.0.0.1:9: poisson 5/s, about 50 requests in 10 s"
    assert (users.closed, good.closed) == (True, False)
    assert wrong.wrong is not None
    assert "nonsense" in wrong.wrong


def test_where_there_is_no_folder_there_is_no_choice(tmp_path: Path) -> None:
    assert choices(tmp_path / "nowhere") == ()


@pytest.mark.parametrize(
    "name", ["../outside.yaml", "link.yaml", "/etc/passwd", "", ".", "good.yaml\0", "good", "absent.yaml", "deep",
             "x" * 5000]
)  # fmt: skip
def test_no_name_leads_out_of_the_folder(folder: Path, name: str) -> None:
    (folder / "link.yaml").symlink_to(folder.parent / "outside.yaml")

    with pytest.raises(UsageError, match="there is no scenario"):
        ready(folder, Wanted(name))


def test_fields_are_read_as_flags_are(folder: Path) -> None:
    found = ready(folder, Wanted("good.yaml", rate=" 20/s ", duration="2s", warmup="1s"))

    assert found.line == "good -> http://127.0.0.1:9: poisson 20/s, about 60 requests in 3 s"
    assert found.elsewhere is None


@pytest.mark.parametrize(
    ("wanted", "message", "hint"),
    [
        ({"rate": "5"}, "Rate: '5' has no unit", "write 5/s or 5/min"),
        ({"rate": "5/s", "users": "3"}, "Rate and Users do not go together", "arrivals have a rate"),
        ({"target": "ftp://x"}, "scheme 'ftp' is not supported", "write http://"),
        ({"duration": "--out=/tmp"}, "Duration: ", ""),
    ],
)
def test_a_mistake_is_answered_in_the_words_of_the_form(
    folder: Path, wanted: dict[str, str], message: str, hint: str
) -> None:
    with pytest.raises(HarnessError) as found:
        ready(folder, Wanted("good.yaml", **wanted))

    assert message in found.value.message
    assert hint in (found.value.hint or "")


def test_flags_are_called_as_their_fields_are() -> None:
    assert of_the_form("start the service, or give its address with --target") == (
        "start the service, or give its address in the field Target"
    )
    assert of_the_form("add load: {rate: 4/s}, or --rate 4/s") == "add load: {rate: 4/s}, or Rate 4/s"
    assert of_the_form("--warmup: '--rate' has no unit") == "Warm-up: '--rate' has no unit"
    assert of_the_form("run it with --slo") == "run it with --slo"


def test_another_host_has_to_be_confirmed(folder: Path) -> None:
    control = Control(settings_of(folder.parent / "runs", scenarios=folder))

    with pytest.raises(Unconfirmed) as found:
        control.start(Wanted("good.yaml", target="http://api.example:81"), confirmed=False)
    assert found.value.plan.elsewhere == "api.example"
    assert "poisson 5/s, about 50 requests in 10 s" in found.value.plan.line


def test_a_run_that_was_not_started_here_is_not_stopped(folder: Path) -> None:
    control = Control(settings_of(folder.parent / "runs", scenarios=folder))

    with pytest.raises(UsageError, match="not started here"):
        control.stop("20261122T094451Z-demo")
