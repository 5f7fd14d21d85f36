"""The stage to fix first, if there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from harness.analysis.facts import Facts
from harness.analysis.where import tail_text
from harness.diagnosis import Cause, TailFindings
from harness.findings import Bottleneck
from harness.model import TRANSFER

NOTABLE = 1.0
"""Slow requests take twice as long as typical ones, or more: a stage that does that is worth a name without a cause."""
_WAITS = ("backlog", "queue", "queue_est")


def bottleneck(facts: Facts, causes: Sequence[Cause], taken_late: bool) -> Bottleneck | None:
    """The stage to fix first: that of the first cause, or the one that alone makes slow requests much slower.

    Some waiting is what random arrivals bring: without a cause a queue is no bottleneck.
    """
    cause, tail = next(iter(causes), None), facts.tail
    if cause is not None:
        if cause.stage is None:  # no stage is to blame for a full machine, and the next best one is not the first
            return None
        found = Bottleneck(
            cause.stage, cause.resource, cause.model, None, None, len(facts.rows), cause.sentence, cause.code
        )
        return replace(found, **_of_tail(tail, cause.stage))
    top = tail.clear if tail is not None else None
    if tail is None or top is None or top.stage in _WAITS or tail.gap_s < NOTABLE * tail.typical_s:
        return None
    model = facts.models[0].model if top.stage == "inference" and facts.models else None
    text = tail_text(tail, facts.resources, taken_late)
    return Bottleneck(top.stage, None, model, top.share, (top.low, top.high), tail.n, text)


def _of_tail(tail: TailFindings | None, stage: str) -> dict[str, Any]:
    """What the stage has of the slow requests' excess; upload and download are known there as transfer alone."""
    whole = "transfer" if stage in TRANSFER else stage
    share = next((s for s in tail.shares if s.stage == whole), None) if tail is not None else None
    return {"share_of_tail": share.share, "interval": (share.low, share.high)} if share is not None else {}
