"""What stands between the brackets of an SLO: the subject, and the arguments that narrow the requests down."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.errors import nearest
from harness.model import Phase
from harness.slo.names import (
    ARGUMENTS,
    COLUMNS,
    DURATIONS,
    FIGURES,
    VITALS,
    WITH_MODELS,
    YES_NO,
    arguments_of,
    subjects_of,
)
from harness.slo.words import PERCENTILE, Where
from harness.slo.wrong import next_at, wrong
from harness.units import quoted

MOST_STEPS = 10_000

_WORD = re.compile(r"""\s*([^\s()<>=≤≥!,'"]*)""")
_EQUALS = re.compile(r"\s*=(?!=)\s*")
_QUOTED = re.compile(r"""'((?:[^']|'')*)'|"((?:[^"]|"")*)\"""")
_EXAMPLES = {"name": "name=receipt", "step": "step=0", "phase": "phase=warmup", "model": "model=det"}


@dataclass(frozen=True, slots=True)
class Inside:
    """The content of the brackets. `places`: where the value of each argument begins. `end`: behind the bracket."""

    subject: str | None
    where: Where
    places: tuple[tuple[str, int], ...]
    end: int


def read_brackets(text: str, opened: int, statistic: str, start: int) -> Inside:
    """`opened` is the opening bracket. Raises SloError."""
    subject, at = None, opened + 1
    if statistic not in FIGURES:
        subject, at = _subject(text, at, statistic, start)
    elif text[next_at(text, at) : next_at(text, at) + 1] == ")":
        raise wrong(text, next_at(text, at), "the brackets are empty", f"write {statistic} alone", start)
    found: dict[str, tuple[str | int, int]] = {}
    more = statistic in FIGURES
    while True:
        if more:
            key, value, place, at = _argument(text, at, statistic, subject, tuple(found), start)
            found[key] = (value, place)
        at = next_at(text, at)
        if text[at : at + 1] == ")":
            break
        more = text[at : at + 1] == ","
        if not more:
            so_far = text[start:at].strip()
            raise wrong(text, at, "a closing bracket is missing", f"write {so_far[:60]})", start)
        at += 1
    where = Where(**{key: value for key, (value, _) in found.items()})  # type: ignore[arg-type]
    return Inside(subject, where, tuple((key, place) for key, (_, place) in found.items()), at + 1)


# --- the subject -------------------------------------------------------------------------------------------


def _subject(text: str, at: int, statistic: str, start: int) -> tuple[str, int]:
    match = _WORD.match(text, at)
    assert match is not None  # noqa: S101 - every part of the pattern is optional
    word, place = match[1], match.start(1)
    names = subjects_of(statistic)
    if not word or _EQUALS.match(text, match.end()):
        hint = f"write {statistic}({names[0]}, {word}=...)" if word in ARGUMENTS else _valid(names)
        raise wrong(text, place, f"{statistic} of what?", hint, start)
    subject = word.removesuffix("_s") if word.removesuffix("_s") in DURATIONS else word
    if subject not in names:
        raise wrong(text, place, *_not_a_subject(statistic, word, subject), start)
    return subject, match.end()


def _not_a_subject(statistic: str, word: str, subject: str) -> tuple[str, str]:
    """(problem, hint)"""
    names = subjects_of(statistic)
    if word in ("name", "step", "phase"):
        return f"{word} is no figure, it only narrows requests down", f"write {statistic}({names[0]}, {word}=...)"
    if word in YES_NO:
        return f"{statistic} of a yes or no says nothing", f"write share({word}), count({word}) or rate({word})"
    if word in COLUMNS and subject not in DURATIONS:
        return f"{statistic} of the column {word} says nothing", _valid(names)
    if statistic == "peak" and subject in DURATIONS:
        return "a peak is of a vital of the service", f"write max({subject})"
    if PERCENTILE.fullmatch(statistic) and word in VITALS:
        return f"{word} has no percentiles here", f"write mean({word}) or peak({word})"
    kind = {
        "share": "a stage",
        "peak": "a vital of the service",
        "count": "a column of the ledger",
        "rate": "a column of the ledger",
    }.get(statistic, "latency, service or a stage")
    return f"{quoted(word)} is not {kind}", nearest(word, names)


def _valid(names: tuple[str, ...]) -> str:
    return "valid names: " + ", ".join(names)


# --- arguments ---------------------------------------------------------------------------------------------


def _argument(
    text: str, at: int, statistic: str, subject: str | None, seen: tuple[str, ...], start: int
) -> tuple[str, str | int, int, int]:
    """(key, value, where the value begins, what is behind it)"""
    match = _WORD.match(text, at)
    assert match is not None  # noqa: S101 - every part of the pattern is optional
    key, place = match[1], match.start(1)
    valid = arguments_of(statistic, subject)
    if not valid:
        problem = f"{subject} is read of the whole process and takes no arguments"
        raise wrong(text, place, problem, f"write {statistic}({subject})", start)
    if not key:
        raise wrong(text, place, "an argument is missing", _usable(valid), start)
    if key not in valid:
        bare = _EQUALS.match(text, match.end()) is None
        raise wrong(text, place, *_not_an_argument(statistic, key, valid, bare=bare), start)
    if key in seen:
        raise wrong(text, place, f"{key} is given twice", "keep one of the two", start)
    equals = _EQUALS.match(text, match.end())
    if equals is None:
        hint = f"write {_EXAMPLES[key]}"
        raise wrong(text, next_at(text, match.end()), f"{key} is given no value", hint, start)
    value, end = _value(text, equals.end(), key, start)
    return key, _checked(text, equals.end(), key, value, start), equals.end(), end


def _not_an_argument(statistic: str, key: str, valid: tuple[str, ...], *, bare: bool) -> tuple[str, str]:
    """(problem, hint)"""
    if key == "model":
        hint = f"model= goes with durations of {' and '.join(WITH_MODELS)}, as in p95(inference, model=det)"
        return "a model has inference time and calls, nothing else", hint
    if statistic in FIGURES and bare:
        return f"{statistic} takes no subject", f"write {statistic} alone, or {statistic}(name=...)"
    return f"{quoted(key)} is not an argument", nearest(key, valid)


def _usable(valid: tuple[str, ...]) -> str:
    return "write " + " or ".join(_EXAMPLES[key] for key in valid)


def _value(text: str, at: int, key: str, start: int) -> tuple[str, int]:
    if text[at : at + 1] in ("'", '"'):
        return _quoted_value(text, at, key, start)
    match = _WORD.match(text, at)
    assert match is not None  # noqa: S101 - every part of the pattern is optional
    if not match[1]:
        raise wrong(text, next_at(text, at), f"{key} is given no value", f"write {_EXAMPLES[key]}", start)
    following = text[next_at(text, match.end()) :][:1]
    if following and following not in ",)<>=≤≥!":
        problem = f"what follows {quoted(match[1], 30)} is not part of the {key}"
        hint = f"put all of it in quotes: {key}='...', or close the bracket"
        raise wrong(text, next_at(text, match.end()), problem, hint, start)
    return match[1], match.end()


def _quoted_value(text: str, at: int, key: str, start: int) -> tuple[str, int]:
    mark = text[at]
    match = _QUOTED.match(text, at)
    if match is None:
        raise wrong(text, at, "this quote is not closed", f"write {mark} behind the {key}", start)
    value = (match[1] if mark == "'" else match[2]).replace(mark * 2, mark)
    strange = next((i for i, c in enumerate(match[0]) if not c.isprintable()), None)
    if strange is not None:
        problem = f"the character U+{ord(match[0][strange]):04X} cannot be part of a {key}"
        raise wrong(text, at + strange, problem, "quoted text is taken as it is: keep it on one line", start)
    if not value.strip():
        raise wrong(text, at, f"{key} is given no value", f"write {_EXAMPLES[key]}", start)
    return value, match.end()


def _checked(text: str, at: int, key: str, value: str, start: int) -> str | int:
    if key == "phase" and value not in tuple(Phase):
        raise wrong(text, at, f"{quoted(value, 30)} is not a phase", nearest(value, tuple(Phase)), start)
    if key != "step":
        return value
    if not re.fullmatch(r"[0-9]{1,5}", value) or int(value) >= MOST_STEPS:
        raise wrong(text, at, f"{quoted(value, 30)} is not a step", "steps are counted from 0: write step=0", start)
    return int(value)
