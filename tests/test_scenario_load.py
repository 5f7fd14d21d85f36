"""The load section: every way to say how much, and what does not go together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import ScenarioError
from harness.model import Arrivals, LoadProfile, Replay, Scenario, Step
from harness.scenario import Overrides
from tests.scenario_builders import GOOD, attempt, folder  # noqa: F401 - a fixture

PLAIN = LoadProfile(Arrivals.POISSON, (), warmup_s=5.0, drain_s=30.0, seed=1)


def with_load(lines: str) -> str:
    indented = "".join(f"  {line}\n" for line in lines.splitlines())
    return GOOD.replace("  rate: 4/s\n", indented)


def load(lines: str, overrides: Overrides | None = None) -> LoadProfile:
    found = attempt(with_load(lines), overrides)
    assert isinstance(found, Scenario), found
    return found.load


def refusal(lines: str, overrides: Overrides | None = None) -> ScenarioError:
    error = attempt(with_load(lines), overrides)
    assert isinstance(error, ScenarioError), "was accepted"
    return error


def recorded(text: str, name: str = "arrivals.csv") -> None:
    Path("s", name).write_text(text)


# --- what becomes of it ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "arrivals", "steps"),
    [
        ("rate: 4/s", "poisson", (Step(4.0, 30.0),)),
        ("arrivals: constant\nrate: 4/s\nduration: 1min", "constant", (Step(4.0, 60.0),)),
        ("steps: [2/s, 4/s]\nduration: 10s", "poisson", (Step(2.0, 10.0), Step(4.0, 10.0))),
        ("ramp: {from: 1/s, to: 8/s}\nduration: 60s", "poisson", (Step(1.0, 60.0, 8.0),)),
        ("ramp: {from: 8/s, to: 1/s}\narrivals: constant", "constant", (Step(8.0, 30.0, 1.0),)),
        ("spike: {base: 5/s, peak: 50/s, at: 10s, for: 5s}", "poisson",
         (Step(5.0, 10.0), Step(50.0, 5.0), Step(5.0, 15.0))),
        ("users: 16", "users", (Step(16.0, 30.0),)),
        ("arrivals: users\nusers: 16", "users", (Step(16.0, 30.0),)),
        ("users: [4, 8, 16]\nduration: 10s", "users", (Step(4.0, 10.0), Step(8.0, 10.0), Step(16.0, 10.0))),
        ("users: {from: 1, to: 32}", "users", (Step(1.0, 30.0, 32.0),)),
    ],
)  # fmt: skip
def test_every_way_to_say_how_much_becomes_steps(lines: str, arrivals: str, steps: tuple[Step, ...]) -> None:
    assert load(lines) == replace(PLAIN, arrivals=Arrivals(arrivals), steps=steps)


@pytest.mark.parametrize(("text", "think_s"), [("500ms", (0.5, 0.5)), ("[200ms, 2s]", (0.2, 2.0)), ("0s", (0.0, 0.0))])
def test_users_think_for_a_fixed_time_or_between_two(text: str, think_s: tuple[float, float]) -> None:
    assert load(f"users: 2\nthink: {text}").think_s == think_s


def test_a_run_can_be_stopped_on_too_many_errors() -> None:
    assert load("rate: 4/s\nabort_on: error_rate > 50%").abort_above == 0.5
    assert load("rate: 4/s\nabort_on: error_rate>0%").abort_above == 0.0


def test_ten_thousand_users_are_not_counted_as_requests() -> None:
    assert load("users: 10000\nduration: 160h").steps == (Step(10_000.0, 576_000.0),)


# --- replay ------------------------------------------------------------------------------------------------


def test_a_recording_becomes_one_step_at_its_mean_rate() -> None:
    recorded("".join(f"{i / 2}\n" for i in range(40)))  # 20 s at 2/s, the first 5 s for the warm-up

    found = load("replay: arrivals.csv")

    assert found == replace(
        PLAIN, arrivals=Arrivals.REPLAY, steps=(Step(2.0, 15.0),), replay=Replay(str(Path("s/arrivals.csv").absolute()))
    )


def test_a_recording_can_be_replayed_faster() -> None:
    recorded("".join(f"{i / 2}\n" for i in range(40)))

    found = load("replay: {from: arrivals.csv, speed: 2}\nwarmup: 0s")

    assert found.steps == (Step(4.0, 10.0),)
    assert found.replay is not None
    assert found.replay.speed == 2.0


def test_a_name_the_scenario_does_not_have_is_refused_with_the_nearest() -> None:
    recorded("0,receipt\n9,receipts\n")

    error = refusal("replay: arrivals.csv")

    assert str(error) == "s/x.yaml:8: the recording has requests named 'receipts', the scenario has none"
    assert error.hint == "did you mean 'receipt'?"


def test_a_bad_line_of_a_recording_is_named() -> None:
    recorded("0\nsoon\n")

    assert "arrivals.csv:2: 'soon' is not a number of seconds like the first one" in str(
        refusal("replay: arrivals.csv")
    )


# --- refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "message", "hint"),
    [
        ("rate: 4/s\nusers: 16", "9: load has both rate and users", "keep one"),
        ("steps: [1/s]\nramp: {from: 1/s, to: 2/s}", "9: load has both steps and ramp", "keep one"),
        ("users: 4\nreplay: a.csv", "9: load has both users and replay", "keep one"),
        ("arrivals: users", "8: arrivals: users needs users in load", "users: 16"),
        ("arrivals: replay", "8: arrivals: replay needs replay in load", "replay: arrivals.csv"),
        ("arrivals: users\nrate: 4/s", "8: arrivals: users does not go with rate", "users: 16 for example instead"),
        ("arrivals: replay\nrate: 4/s", "8: arrivals: replay does not go with rate", "or arrivals: poisson"),
        ("arrivals: poisson\nusers: 4", "8: arrivals: poisson does not go with users", "delete it"),
        ("arrivals: constant\nreplay: a.csv", "8: arrivals: constant does not go with replay", "delete it"),
        ("rate: 4/s\nthink: 1s", "9: think in load does not go with poisson arrivals", "users: 16"),
        ("users: 4\nthink: [2s, 1s]", "9: think in load should be one pause", "[200ms, 2s]"),
        ("users: 4\nthink: [1s, 2s, 3s]", "9: think in load should be one pause", "[200ms, 2s]"),
        ("users: 4\nthink: 1", "9: think in load: '1' has no unit", "1s"),
        ("users: 0", "8: users in load should be a whole number from 1 to 10000, not '0'", "write 16"),
        ("users: 10001", "8: users in load should be a whole number from 1 to 10000", "write 16"),
        ("users: 4/s", "8: users in load should be a whole number", "write 16"),
        ("users: []", "8: users in load is an empty list", "at least one"),
        ("users: {from: 1}", "8: users in load does not say 'to'", "{from: 1, to: 32}"),
        ("users: {from: 1, til: 2}", "8: unknown key 'til' in users in load", "valid names: from, to"),
        ("ramp: {from: 1/s}", "8: ramp does not say 'to'", "ramp: {from: 1/s, to: 8/s}"),
        ("ramp: {from: 0/s, to: 8/s}", "8: from in ramp must be above 0", "30/min"),
        ("ramp: 4/s", "8: ramp should be `key: value` lines", "indent"),
        ("spike: 9/s", "8: spike should be `key: value` lines", "indent"),
        ("spike: {base: 5/s, peak: 50/s, at: 10s}", "8: spike does not say 'for'", "for: 5s"),
        ("spike: {base: 5/s, peak: 5/s, at: 10s, for: 5s}", "8: the peak of the spike, 5/s, is not above", "peak"),
        ("spike: {base: 5/s, peak: 9/s, at: 25s, for: 5s}", "8: the spike ends 30 s after it all began", "raise it"),
        ("spike: {base: 5/s, peak: 9/s, at: 0s, for: 5s}", "8: at in spike must be above 0", "30s"),
        ("ramp: {from: 1/s, to: 100000/s}\nduration: 10min", "30,000,305 requests are planned", "lower"),
        ("users: [1, 2]\nduration: 100h", "9: the load profile is longer than a week", "lower"),
        ("rate: 4/s\nabort_on: errors > 5", "9: abort_on in load cannot be 'errors > 5'", "error_rate > 50%"),
        ("rate: 4/s\nabort_on: error_rate > 5", "9: abort_on in load: '5' has no unit", "5%"),
        ("rate: 4/s\nabort_on: error_rate > 100%", "9: abort_on in load: no more than all can fail", "50%"),
        ("replay: two.csv\nduration: 10s", "9: duration does not go with replay", "speed: 2"),
        ("replay: nowhere.csv", "8: replay in load: file 'nowhere.csv' does not exist", "two.csv"),
        ("replay: payloads", "payloads' is a folder without samples", "`harness run` wrote"),
        ("replay: here.csv", "8: replay in load: 'here.csv' is not there, seen from the folder of the", "../here.csv"),
        (f"replay: {'x' * 5000}", "does not exist", "two.csv"),
        ("replay: {speed: 2}", "8: replay in load does not say 'from'", "{from: PATH, speed: 2}"),
        ("replay: {from: two.csv, speed: 0}", "8: speed in replay should lie between 0.001 and 1000", "half the time"),
        ("replay: two.csv\nwarmup: 10s", "9: the recording ends after 2 s, within the warm-up of 10 s", "warmup: 0s"),
        ("replay: two.csv", "8: the recording ends after 2 s, within the warm-up of 5 s", "warmup: 0s"),
        ("replay: '*.csv'", "8: replay in load names more than one file", "one recording"),
        ("replay: fast.csv\nwarmup: 0s", "8: the recording has 2000000/s, at most 100000/s can be sent", "slower"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused_with_what_to_do(lines: str, message: str, hint: str) -> None:
    recorded("0\n1\n", "two.csv")
    recorded("0\n1\n", "../here.csv")
    recorded("0\n0.0000005\n", "fast.csv")

    error = refusal(lines)

    assert message in str(error)
    assert hint in (error.hint or "")


# --- flags -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    ["users: 4\nthink: 1s", "arrivals: users\nusers: [4, 8]", "ramp: {from: 1/s, to: 2/s}", "replay: nowhere.csv",
     "steps: [1/s, 2/s]", "spike: {base: 1/s, peak: 2/s, at: 1s, for: 1s}", "arrivals: replay\nreplay: x"],
)  # fmt: skip
def test_a_rate_on_the_command_line_replaces_every_other_amount(lines: str) -> None:
    assert load(lines, Overrides(rate="9/s", duration="20s")) == replace(PLAIN, steps=(Step(9.0, 20.0),))


@pytest.mark.parametrize("lines", ["rate: 4/s\narrivals: constant", "steps: [1/s]", "users: {from: 1, to: 4}"])
def test_users_on_the_command_line_replace_every_other_amount(lines: str) -> None:
    expected = replace(PLAIN, arrivals=Arrivals.USERS, steps=(Step(8.0, 30.0),))

    assert load(lines, Overrides(users="8")) == expected


def test_users_on_the_command_line_think_as_the_scenario_says() -> None:
    assert load("users: 2\nthink: 1s", Overrides(users="8")).think_s == (1.0, 1.0)


def test_constant_arrivals_stay_constant_at_another_rate() -> None:
    assert load("rate: 4/s\narrivals: constant", Overrides(rate="9/s")).arrivals is Arrivals.CONSTANT


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (Overrides(users="many"), "--users: users in load should be a whole number"),
        (Overrides(users="4", rate="4/s"), "--rate and --users do not go together"),
    ],
)
def test_a_bad_flag_is_refused_by_its_own_name(flags: Overrides, message: str) -> None:
    assert str(refusal("rate: 4/s", flags)).startswith(message)


def test_a_recording_has_its_own_length_whatever_the_flag_says() -> None:
    recorded("0\n9\n")

    assert str(refusal("replay: arrivals.csv", Overrides(duration="9s"))).startswith("--duration: duration does not go")
