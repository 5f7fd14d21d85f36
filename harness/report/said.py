"""What the verdict says in sentences, and the causes that no sentence of it tells: written once for all reports."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

from harness.diagnosis import Cause, Sentence
from harness.findings import Loss, Summary
from harness.model import Split
from harness.report.gains_text import gain_table

MOST_SENTENCES = 6
TRY_FIRST = "Try first:"
_GAIN = "What a fix would give"
"""How the sentence on the replay begins; its figures stand in a table of their own."""


# --- sentences -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SaidLine:
    """One sentence. Where it tells a cause, the remedy is taken out of `text`, and `anchor` names that cause."""

    text: str
    remedy: str
    evidence: tuple[str, ...]
    anchor: str
    in_table: bool = False  # its figures are in the table of what a fix would give


def said_lines(summary: Summary) -> tuple[SaidLine, ...]:
    """At most MOST_SENTENCES of them, in their order."""
    has_gains = gain_table(summary) is not None
    return tuple(_said_line(summary, sentence, has_gains) for sentence in summary.sentences[:MOST_SENTENCES])


def _said_line(summary: Summary, sentence: Sentence, has_gains: bool) -> SaidLine:
    if has_gains and sentence.text.startswith(_GAIN):
        return SaidLine(sentence.text, "", (), "", in_table=True)
    for cause, anchor in zip(summary.causes, anchors(summary.causes), strict=True):
        if _tells(sentence, cause):
            text, _, remedy = sentence.text.rpartition(f" {TRY_FIRST} ")
            return SaidLine(text, remedy, sentence.evidence, anchor)
    return SaidLine(sentence.text, "", sentence.evidence, "")


def _tells(sentence: Sentence, cause: Cause) -> bool:
    """Whether nothing of the cause is left to say after the sentence."""
    whole = f"{cause.sentence} {TRY_FIRST} {cause.remedy}"
    return sentence.text.removesuffix(".") == whole.removesuffix(".") and set(cause.evidence) <= set(sentence.evidence)


# --- causes ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CauseLine:
    """A cause that no sentence tells. `evidence` is all of it, `further` what stands below no sentence."""

    number: int  # its place among those shown, from 1: what a sentence tells has no number to be seen
    anchor: str
    sentence: str
    remedy: str
    evidence: tuple[str, ...]
    further: tuple[str, ...]


def cause_lines(summary: Summary) -> tuple[CauseLine, ...]:
    """The causes that are not told in full by a sentence, what costs most first."""
    sentences = summary.sentences[:MOST_SENTENCES]
    shown = {line for sentence in sentences for line in sentence.evidence}
    left = [
        (cause, anchor)
        for cause, anchor in zip(summary.causes, anchors(summary.causes), strict=True)
        if not any(_tells(sentence, cause) for sentence in sentences)
    ]
    return tuple(
        CauseLine(number, anchor, cause.sentence, cause.remedy, cause.evidence,
                  tuple(line for line in cause.evidence if line not in shown))
        for number, (cause, anchor) in enumerate(left, 1)
    )  # fmt: skip


def causes_title(summary: Summary) -> str:
    """The heading of the causes that are left."""
    return "Why, and what to try first" if len(cause_lines(summary)) == len(summary.causes) else "Further causes"


def has_server_halves(summary: Summary) -> bool:
    """Whether the service gave an account of any ok request."""
    return any(n for split, n in summary.counts.split if split != Split.NONE.value)


def was_examined(summary: Summary) -> bool:
    """Whether causes were looked for: the run measured something, and its summary is not older than the search."""
    return summary.counts.scheduled > 0 and (bool(summary.steps) or summary.answered is not None)


_SAID = ("No known cause", "Nothing is said about stages", "No request succeeded")
"""How a sentence of the verdict begins that leaves nothing to add about causes."""


def no_cause(summary: Summary) -> str:
    """The one sentence in place of the causes.

    Empty when there are some, when nobody looked for any, or when the verdict says as much in its own words.
    """
    if summary.causes or not was_examined(summary):
        return ""
    if any(sentence.text.startswith(_SAID) for sentence in summary.sentences[:MOST_SENTENCES]):
        return ""
    if not summary.counts.ok:
        return "No request was answered as expected, so there is no answer whose time could be explained."
    if not has_server_halves(summary):
        return (
            "Nothing could be looked at inside the service: it gave no account of these requests (no spans). "
            "What the load generator sees by itself shows no known cause."
        )
    if summary.coverage is not None and summary.coverage.loss in (Loss.CLUSTERED, Loss.BIASED):
        return (
            "Nothing could be looked at inside the service: the requests it gave an account of are not like "
            "those it did not."
        )
    return "No known cause shows in this run."


def anchors(causes: tuple[Cause, ...]) -> tuple[str, ...]:
    """An id for each cause, made of its code; unique also when two causes share one."""
    taken: list[str] = []
    for cause in causes:
        plain = f"cause-{re.sub(r'[^a-z0-9_-]', '', cause.code.lower())[:40] or 'known'}"
        numbered = itertools.chain([plain], (f"{plain}-{i}" for i in itertools.count(2)))
        taken.append(next(name for name in numbered if name not in taken))
    return tuple(taken)


def cause_of_bottleneck(summary: Summary) -> str:
    """The anchor of the cause that explains the bottleneck; empty without one."""
    code = summary.bottleneck.cause if summary.bottleneck is not None else None
    named = zip(summary.causes, anchors(summary.causes), strict=True)
    return next((anchor for cause, anchor in named if cause.code == code), "")
