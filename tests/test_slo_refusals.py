"""What the SLO language refuses, with the place and what to write instead."""

from __future__ import annotations

import pytest

from harness.slo import Slo, SloError, check_names, parse_slo, parse_slos


def refusal(text: str) -> SloError:
    with pytest.raises(SloError) as caught:
        parse_slos(text)
    return caught.value


def test_a_misspelt_stage_gets_a_caret_and_the_nearest_name() -> None:
    error = refusal("p95(inferense) < 1s")

    assert error.message == "SLO 'p95(inferense) < 1s': 'inferense' is not latency, service or a stage"
    assert error.hint == "did you mean 'inference'?\n  p95(inferense) < 1s\n      ^"


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("p0(latency) < 1s", "p0 is no percentile", "between p1 and p99.99"),
        ("p100(latency) < 1s", "p100 is the largest value", "write max(...) instead"),
        ("p101(latency) < 1s", "beyond the largest value", "between p1 and p99.99"),
        ("p95(latency) > 1s", "needs an upper limit", "write p95(latency) < 1s"),
        ("completed < 98%", "needs a lower limit", "write completed > 98%"),
        ("error_rate >= 2%", "needs an upper limit", "write error_rate <= 2%"),
        ("p95(latency) < 1", "'1' has no unit", "write 1s or 1ms"),
        ("error_rate < 0.02", "'0.02' has no unit", "write 2%"),
        ("p95(latency) <", "the limit is missing", "write 1s or 200ms"),
        ("p95(latency)", "a comparison is missing", "write < and a limit here"),
        ("p95(latency) == 1s", "'==' is not a comparison", "one of < <= > >="),
        ("p95(latency < 1s", "a closing bracket is missing", "write p95(latency)"),
        ("p95 < 1s", "p95 of what?", "write p95(latency)"),
        ("p95() < 1s", "p95 of what?", "valid names: latency"),
        ("latency < 1s", "which statistic of latency?", "write p95(latency)"),
        ("share(latency) < 3%", "'latency' is not a stage", "valid names:"),
        ("error_rate(x) < 2%", "error_rate takes no subject", "write error_rate alone"),
        ("error_rate < 0%", "can never be met", "write error_rate <= 0%"),
        ("completed > 100%", "can never be met", "write completed >= 100%"),
        ("p95(latency) < 0s", "can never be met", "above zero"),
        ("men(latency) < 1s", "'men' is not a statistic", "did you mean 'mean'?"),
        ("< 1s", "starts with the name of a statistic", "an SLO reads like"),
        ("", "is empty", "an SLO reads like"),
        ("p95(latency) < 1s" + " " * 10_000, "of 10,017 characters is too long", "an SLO reads like"),
    ],
)
def test_a_bad_slo_is_refused_with_what_to_write(text: str, problem: str, hint: str) -> None:
    error = refusal(text)

    assert problem in error.message
    assert hint in (error.hint or "")


def test_the_caret_stays_under_its_place_in_a_long_line() -> None:
    hint = refusal("p95(" + " " * 90 + "nonsense) < 1s").hint or ""

    line, caret = hint.splitlines()[-2:]
    assert line[caret.index("^") :].startswith("nonsense")


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("p0.5(latency) < 1s", "p0.5 is below p1", "between p1 and p99.99"),
        ("p99.995(latency) < 1s", "takes more requests than a run has", "29,956"),
        ("P95(latency) < 1s", "'P95' is not a statistic", "did you mean 'p95'?"),
        ("throughput() > 20/s", "the brackets are empty", "write throughput alone"),
        ("rss < 2GiB", "which statistic of rss?", "write mean(rss) or peak(rss)"),
        ("p95(rss) < 2GiB", "rss has no percentiles", "write mean(rss) or peak(rss)"),
        ("peak(latency) < 1s", "a peak is of a vital", "write max(latency)"),
        ("peak(ram) < 2GiB", "'ram' is not a vital of the service", "valid names: cpu, gc_pause"),
        ("cv(rss) < 2", "'rss' is not latency, service or a stage", "valid names:"),
        ("count(call) > 5", "'call' is not a column of the ledger", "valid names:"),
        ("p95(name) < 1s", "name is no figure", "write p95(latency, name=...)"),
        ("p95(name=receipt) < 1s", "p95 of what?", "write p95(latency, name=...)"),
        ("p95(split) < 1s", "p95 of the column split says nothing", "valid names:"),
        ("p95(ok) < 1s", "p95 of a yes or no says nothing", "write share(ok), count(ok) or rate(ok)"),
        ("share(ok) < 1%", "share(ok) needs a lower limit", "write share(ok) > 1%"),
        ("rate(ok) < 18/s", "rate needs a lower limit", "write rate(ok) > 18/s"),
    ],
)
def test_a_statistic_is_refused_for_what_it_cannot_be_of(text: str, problem: str, hint: str) -> None:
    error = refusal(text)

    assert problem in error.message
    assert hint in (error.hint or "")


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("p95(latency, nam=a) < 1s", "'nam' is not an argument", "did you mean 'name'?"),
        ("p95(latency, name=a, name=b) < 1s", "name is given twice", "keep one"),
        ("p95(latency, name) < 1s", "name is given no value", "write name=receipt"),
        ("p95(latency, name=) < 1s", "name is given no value", "write name=receipt"),
        ("p95(latency, name='') < 1s", "name is given no value", "write name=receipt"),
        ("p95(latency, name=POST /v1/read) < 1s", "what follows 'POST' is not part of the name", "name='...'"),
        ("p95(latency, name='a) < 1s", "this quote is not closed", "write ' behind the name"),
        ("p95(latency, name='a\tb') < 1s", "the character U+0009 cannot be part of a name", "on one line"),
        ("p95(latency,) < 1s", "an argument is missing", "write name=receipt or step=0"),
        ("p95(latency service) < 1s", "a closing bracket is missing", "write p95(latency)"),
        ("p95(latency, step=two) < 1s", "'two' is not a step", "counted from 0"),
        ("p95(latency, step=-1) < 1s", "'-1' is not a step", "counted from 0"),
        ("p95(latency, phase=measured) < 1s", "'measured' is not a phase", "did you mean 'measure'?"),
        ("p95(latency, model=det) < 1s", "a model has inference time and calls", "p95(inference, model=det)"),
        ("count(inference, model=det) > 5", "a model has inference time and calls", "goes with durations"),
        ("error_rate(model=det) < 1%", "a model has inference time and calls", "goes with durations"),
        ("peak(rss, step=1) < 2GiB", "rss is read of the whole process", "write peak(rss)"),
    ],
)
def test_an_argument_is_refused_with_what_to_write(text: str, problem: str, hint: str) -> None:
    error = refusal(text)

    assert problem in error.message
    assert hint in (error.hint or "")


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("p95(latency) < 25%", "'25%' is not a duration", "write 200ms"),
        ("share(queue) < 200ms", "'200ms' is not a share", "write 25%"),
        ("throughput > 20", "'20' has no unit", "write 20/s"),
        ("throughput > 20%", "'20%' is not a rate", "write 20/s"),
        ("peak(rss) < 2s", "'2s' is not a size", "write 800B, 1MB or 5MiB"),
        ("count(ok) > 500/s", "'500/s' is not a whole number", "write 500"),
        ("count(ok) > 0.5", "'0.5' is not a whole number", "write 500"),
        ("count(ok) > 1,000", "'1,000' is not a whole number", "write 500"),
        ("cv(latency) < 50%", "'50%' is not a number without a unit", "write 0.5"),
        ("mean(cpu) < 2", "'2' has no unit", "two busy cores are 200%"),
        ("mean(cpu) < 2s", "'2s' is not a share of one core", "write 80%"),
        ("mean(cpu) <", "the limit is missing", "write 80%"),
        ("error_rate < 150%", "more than the whole", "between 0% and 100%"),
        ("p95(latency) < 1s, error_rate < 2%", "',' is not part of a limit", "joined by and"),
        ("p95(latency) < 1s or error_rate < 2%", "'or' is not part of a limit", "joined by and"),
        ("p95(latency) < 1s && error_rate < 2%", "'&' is not part of a limit", "joined by and"),
        ("p95(latency) < 1s AND error_rate < 2%", "'AND' is not part of a limit", "joined by and"),
        ("p95(latency) < < 1s", "'<' is not part of a limit", "one limit ends here"),
        ("count(ok) < 0", "can never be met", "write count(ok) <= 0"),
        ("cv(latency) <= 0", "can never be met", "above zero"),
        ("coverage > 100%", "can never be met", "write coverage >= 100%"),
        ("completed >= 0%", "can never fail", "a limit that says something"),
        ("error_rate <= 100%", "can never fail", "a limit that says something"),
        ("p95(latency) < 1s and", "an SLO is missing behind and", "an SLO reads like"),
        ("p95(latency) < and error_rate < 2%", "the limit is missing", "write 1s or 200ms"),
    ],
)
def test_a_limit_is_refused_with_the_unit_that_it_takes(text: str, problem: str, hint: str) -> None:
    error = refusal(text)

    assert problem in error.message
    assert hint in (error.hint or "")


CARETS = {
    "p95(latency) < 1s and p95(inferense) < 1s": "inferense",
    "p95(latency, name=a, step=x) < 1s": "x)",
    "p95(latency, nme=a) < 1s": "nme",
    "error_rate < 1% and p95(latency) > 1s": "> 1s",
    "peak(rss) < 2GiB and mean(cpu) < 2s": "2s",
    "p95(latency) < 1s | x": "| x",
    "p95(latency, name='a < 1s": "'a < 1s",
    "p95(latency)\u200b < 1s": "? < 1s",
    "p95(latency) < 1s \0": "?",
}


@pytest.mark.parametrize("text", CARETS)
def test_the_caret_is_under_the_character_that_is_wrong(text: str) -> None:
    line, caret = (refusal(text).hint or "").splitlines()[-2:]

    assert line[caret.index("^") :].startswith(CARETS[text])


def test_the_caret_counts_wide_characters_twice() -> None:
    hint = refusal("p95(latency, name='領収書', nme=a) < 1s").hint or ""

    assert hint.splitlines()[-1] == "  " + " " * (len("p95(latency, name='領収書', ") + 3) + "^"


def test_the_message_quotes_the_clause_that_is_wrong() -> None:
    error = refusal("p95(latency) < 1s and p95(inferense) < 1s and error_rate < 1%")

    assert error.message.startswith("SLO 'p95(inferense) < 1s': ")


def test_a_single_slo_is_not_a_list() -> None:
    with pytest.raises(SloError, match="one SLO is expected here, not several"):
        parse_slo("p95(latency) < 1s and error_rate < 1%")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"p95(latency, name='{'a' * 200}') < 1s", "one SLO of 226 characters is too long"),
        ("p95(latency) < 1s and " * 100 + "error_rate < 1%", "a list of SLOs of 2,215 characters is too long"),
    ],
)
def test_what_is_longer_than_any_limit_is_refused(text: str, said: str) -> None:
    assert said in refusal(text).message


# --- what the run knows ------------------------------------------------------------------------------------


def unknown(slo: Slo, names: tuple[str, ...] | None, steps: int | None) -> SloError:
    with pytest.raises(SloError) as caught:
        check_names(slo, names, steps)
    return caught.value


def test_a_name_that_no_request_has_is_refused_under_it() -> None:
    error = unknown(parse_slo("p95(latency, name=recept) < 1s"), ("receipt", "kind"), 1)

    assert error.message == "SLO 'p95(latency, name=recept) < 1s': no request is named 'recept'"
    assert error.hint == f"did you mean 'receipt'?\n  p95(latency, name=recept) < 1s\n  {' ' * 18}^"


@pytest.mark.parametrize(("steps", "has"), [(1, "only step 0"), (3, "3 steps, 0 to 2")])
def test_a_step_that_the_load_profile_does_not_have_is_refused(steps: int, has: str) -> None:
    error = unknown(parse_slo("error_rate(step=3) < 1%"), None, steps)

    assert "there is no step 3" in error.message
    assert has in (error.hint or "")


def test_a_hundred_names_are_not_all_listed() -> None:
    error = unknown(parse_slo("error_rate(name=zzz) < 1%"), tuple(f"r{i:03}" for i in range(100)), 1)

    assert "r000" in (error.hint or "")
    assert len(error.hint or "") < 300


def test_names_and_steps_that_are_there_or_not_known_are_no_mistake() -> None:
    check_names(parse_slo("p95(latency, name='POST /v1/read', step=2) < 1s"), ("POST /v1/read",), 3)
    check_names(parse_slo("p95(latency, name=any, step=9) < 1s"), None, None)
    check_names(parse_slo("p95(latency) < 1s"), (), 0)
