"""Whether two runs may be held against each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.comparing.likeness import Circumstances, differences, same_draw
from harness.analysis.comparing.mix import Sent, chance_of_counts, share_apart
from harness.comparison import Difference
from harness.model import Arrivals, LoadProfile, Replay, RequestSpec, SpanSpec, Step
from tests.stored_queues import MACHINE

LOAD = LoadProfile(Arrivals.POISSON, (Step(50.0, 20.0),), warmup_s=2.0, drain_s=1.0, seed=7)


def sent(counts: dict[str, int] | None = None, size: int = 1_000, mean_s: dict[str, float] | None = None) -> Sent:
    counts = {"read": 600} if counts is None else counts
    sizes = {name: np.full(n, size, np.int64) for name, n in counts.items()}
    return Sent(counts, mean_s or dict.fromkeys(counts, 0.1), sizes)


def a_run(**changes: Any) -> Circumstances:
    known: dict[str, Any] = {
        "place": "/runs/a", "scenario": "read", "target": "http://127.0.0.1:8000", "loopback": True,
        "environment": MACHINE, "load": LOAD, "spans": SpanSpec(), "requests": (RequestSpec("read", "POST", "/v1"),),
        "services": ("reader",), "sent": sent(), "offered_per_s": 50.0, "split": {"marks": 600}, "kernel": 1.0,
        "doubts": (),
    }  # fmt: skip
    return Circumstances(**{**known, **changes})


def against(**changes: Any) -> tuple[Difference, ...]:
    return differences(a_run(), a_run(place="/runs/b", **changes))


def test_another_address_and_another_day_are_what_comparing_is_for() -> None:
    quieter = {**MACHINE, "load average": "0.30 when the run began"}

    assert against(target="http://127.0.0.1:9000", environment=quieter) == ()


@pytest.mark.parametrize(
    ("name", "text"), [("cpu", "Xeon"), ("cores", "4 usable of 4"), ("machine", "aarch64"), ("governor", "powersave")]
)
def test_another_machine_matters(name: str, text: str) -> None:
    ours = a_run(environment={**MACHINE, "governor": "performance"})
    theirs = a_run(place="/runs/b", environment={**MACHINE, "governor": "performance", name: text})

    (found,) = differences(ours, theirs)

    assert (found.what, found.b, found.matters) == (name, text, True)


@pytest.mark.parametrize("name", ["harness", "python", "system", "memory"])
def test_other_versions_are_said_and_refuse_nothing(name: str) -> None:
    (found,) = against(environment={**MACHINE, name: "another"})

    assert (found.what, found.matters) == (name, False)
    assert found.sentence == f"{name}: {MACHINE[name]} in A, another in B"


def test_a_machine_that_nobody_recorded_may_be_another_one() -> None:
    (found,) = against(environment={})

    assert (found.sentence, found.matters) == ("the machine of B is not known: it may be another one", False)


def test_a_machine_that_was_busier_before_is_said() -> None:
    # 2.40 less 0.10 is more than half of 2 cores.
    (found,) = against(environment={**MACHINE, "load average": "2.40 when the run began"})

    assert found.sentence == "load average: 0.10 in A, 2.40 in B; the machine was busier before B"


@pytest.mark.parametrize(
    ("load", "what", "matters"),
    [
        ({"arrivals": Arrivals.CONSTANT}, "arrivals", True),
        ({"steps": (Step(60.0, 20.0),)}, "rate", True),
        ({"steps": (Step(50.2, 20.0),)}, None, False),
        ({"steps": (Step(50.0, 20.0), Step(60.0, 20.0))}, "rate", True),
        ({"steps": (Step(50.0, 20.0, to=80.0),)}, "rate", True),
        ({"steps": (Step(50.0, 40.0),)}, "duration", False),
        ({"warmup_s": 0.0}, "warm-up", False),
        ({"seed": 8}, "seed", False),
        ({"drain_s": 9.0}, None, False),
    ],
)
def test_the_load_has_to_be_the_same_and_its_luck_need_not(
    load: dict[str, Any], what: str | None, matters: bool
) -> None:
    found = against(load=replace(LOAD, **load))

    assert [(d.what, d.matters) for d in found] == ([] if what is None else [(what, matters)])


def test_of_several_steps_each_has_to_last_as_long() -> None:
    steps = (Step(10.0, 20.0), Step(20.0, 20.0))
    one, other = replace(LOAD, steps=steps), replace(LOAD, steps=(steps[0], Step(20.0, 60.0)))

    (found,) = differences(a_run(load=one), a_run(place="/b", load=other))

    assert (found.what, found.a, found.b, found.matters) == ("duration", "40 s", "80 s", True)


def test_a_closed_loop_has_to_think_as_long_with_as_many_users() -> None:
    users = replace(LOAD, arrivals=Arrivals.USERS, steps=(Step(4.0, 20.0),), think_s=(0.1, 0.2))
    others = replace(users, steps=(Step(8.0, 20.0),), think_s=(0.0, 0.0))

    found = differences(a_run(load=users), a_run(place="/b", load=others))

    assert [d.sentence for d in found] == [
        "users: 4 in A, 8 in B", "think time: 100 ms to 200 ms in A, 0 s to 0 s in B",
    ]  # fmt: skip


def test_another_recording_is_another_load() -> None:
    replay = replace(LOAD, arrivals=Arrivals.REPLAY, replay=Replay("/x/monday.csv"))
    faster = replace(replay, replay=Replay("/y/monday.csv", 2.0))

    (found,) = differences(a_run(load=replay), a_run(place="/b", load=faster))

    assert (found.a, found.b, found.matters) == ("monday.csv at 1x", "monday.csv at 2x", True)


def test_a_rate_that_was_planned_and_not_sent_is_said() -> None:
    (found,) = against(offered_per_s=25.0)

    assert found.sentence == "rate as sent: 50/s in A, 25/s in B; the plan was the same"


# --- mix and payloads ---------------------------------------------------------------------------------------


def test_shares_as_far_apart_as_drawing_them_explains_are_the_same_mix() -> None:
    # 310 against 290 of 600: chi-square 1.33, one degree of freedom.
    one, other = sent({"read": 310, "identify": 290}), sent({"read": 290, "identify": 310})

    assert differences(a_run(sent=one), a_run(place="/b", sent=other)) == ()


def test_another_mix_matters_and_says_what_it_does_by_itself() -> None:
    one = sent({"read": 300, "identify": 300}, mean_s={"read": 0.3, "identify": 0.1})
    other = sent({"read": 450, "identify": 150})

    (found,) = differences(a_run(sent=one), a_run(place="/b", sent=other))

    # 0.75 x 0.3 + 0.25 x 0.1 = 0.25 against 0.20.
    assert found.matters
    assert found.sentence == (
        "25% of the requests are of another kind, which alone would change the mean latency of A by +25.0%"
    )
    assert (found.a, found.b) == ("read 50%, identify 50%", "read 75%, identify 25%")


def test_a_slight_shift_between_kinds_that_cost_the_same_is_only_said() -> None:
    one, other = sent({"read": 50_000, "identify": 50_000}), sent({"read": 52_000, "identify": 48_000})

    (found,) = differences(a_run(sent=one), a_run(place="/b", sent=other))

    assert not found.matters


def test_a_kind_that_one_run_never_sent_matters() -> None:
    found = against(sent=sent({"read": 400, "detect": 200}))

    assert [(d.what, d.matters) for d in found] == [("mix", True)]


@pytest.mark.parametrize(("size", "matters"), [(1_010, None), (1_113, None), (1_115, True), (2_000, True)])
def test_payloads_of_other_sizes_matter_beyond_a_few_bytes(size: int, matters: bool | None) -> None:
    found = against(sent=sent(size=size))  # 1,000 x 1.05 + 64 = 1,114

    assert [d.matters for d in found] == ([] if matters is None else [matters])


def test_payloads_with_the_same_mean_and_another_spread_differ() -> None:
    other = Sent({"read": 600}, {"read": 0.1}, {"read": np.repeat(np.array([100, 1_900]), 300)})

    (found,) = against(sent=other)

    assert (found.what, found.a, found.matters) == ("payloads", "1000 B", True)
    assert found.sentence.startswith("the payloads of read have other sizes: 50% of them")


def test_too_few_of_a_kind_say_nothing_about_its_payloads() -> None:
    one, other = sent({"read": 19}), sent({"read": 19}, size=9_000)

    assert differences(a_run(sent=one), a_run(place="/b", sent=other)) == ()


def test_runs_without_a_request_have_no_mix() -> None:
    assert differences(a_run(sent=sent({}), offered_per_s=None), a_run(place="/b", sent=sent({}))) == ()


def test_the_chance_of_counts_is_that_of_chi_square() -> None:
    assert chance_of_counts([(300, 220), (100, 180)]) < 1e-6
    assert chance_of_counts([(50, 50), (20, 20)]) > 0.9
    # Four cells that are 53.5 off the 1,053.5 expected: 10.87, and 10.83 is the limit of one in a thousand.
    assert chance_of_counts([(1_107, 1_000), (1_000, 1_107)]) == pytest.approx(0.001, rel=0.2)
    assert chance_of_counts([]) == 1.0
    assert chance_of_counts([(5, 0)]) == 1.0


@given(
    st.lists(st.integers(0, 10**9), min_size=1, max_size=50), st.lists(st.integers(0, 10**9), min_size=1, max_size=50)
)
def test_sizes_are_apart_by_a_share_and_by_none_from_themselves(one: list[int], other: list[int]) -> None:
    a, b = (np.sort(np.array(sizes, np.int64)) for sizes in (one, other))

    assert 0.0 <= share_apart(a, b) <= 1.0
    assert share_apart(a, b) == share_apart(b, a)
    assert share_apart(a, a) == 0.0


# --- how it was measured ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"scenario": "other"}, "scenario: read in A, other in B"),
        ({"loopback": False}, "way: this host in A, over a network in B; transfer differs for that alone"),
        ({"target": "https://127.0.0.1:8000"}, "scheme: http in A, https in B; TLS is in connect"),
        ({"services": ("reader",) * 4}, "processes of the service: 1 in A, 4 in B"),
        ({"services": ("writer",)}, "service: reader in A, writer in B"),
        ({"split": {"none": 600}}, "server halves: marks 100% in A, none 100% in B; no stage of B is known"),
        ({"split": {"spans": 300, "marks": 300}},
         "server halves: marks 100% in A, spans 50%, marks 50% in B; stages do not mean quite the same"),
        ({"spans": SpanSpec(preset="triton")},
         "spans are mapped to stages in another way: a stage may hold other work"),
        ({"spans": SpanSpec(sampled=0.1)}, "sampled: 100% in A, 10% in B; recording costs the service time"),
        ({"kernel": 0.0},
         "answers stamped by the kernel: 100% in A, 0% in B; without that a busy generator is in the latency"),
        ({"requests": (RequestSpec("read", "POST", "/v1", timeout_s=1.0),)},
         "timeout of read: 30 s in A, 1 s in B; what is slower than that has failed"),
        ({"doubts": ("was interrupted",)}, "B was interrupted"),
    ],
)  # fmt: skip
def test_what_else_differs_is_said_and_refuses_nothing(changes: dict[str, Any], sentence: str) -> None:
    (found,) = against(**changes)

    assert (found.sentence, found.matters) == (sentence, False)


def test_what_matters_comes_first() -> None:
    found = against(environment={**MACHINE, "python": "3.12.0"}, load=replace(LOAD, steps=(Step(80.0, 20.0),)))

    assert [d.what for d in found if d.matters] == ["rate"]
    assert found[0].matters


def test_a_run_is_not_different_from_itself() -> None:
    (found,) = differences(a_run(), a_run())

    assert found.sentence == "A and B are the same run: nothing can differ"


def test_one_seed_and_one_load_are_one_draw() -> None:
    b = a_run(place="/runs/b")

    assert same_draw(a_run(), b)
    assert not same_draw(a_run(), replace(b, load=replace(LOAD, seed=8)))
    assert not same_draw(a_run(), replace(b, sent=sent({"read": 599})))
    assert not same_draw(a_run(), replace(b, requests=()))
    closed = replace(LOAD, arrivals=Arrivals.USERS)
    assert not same_draw(a_run(load=closed), replace(b, load=closed))
