"""The tables of a run -> the columns that selections are made from: about 120 bytes a request."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.analysis.selection import ANSWERED, Columns
from harness.analysis.selection_attributes import Kinds
from harness.errors import RunFolderError
from harness.model import STAGES, TRANSFER, Split
from harness.run_folder import RunFolder
from harness.tables import read_columns
from harness.units import format_bytes

Integers: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]
Rows: TypeAlias = NDArray[np.intp]

MOST_TEXTS = 1000
"""Different names, or outcomes, of a run that are told apart: the most frequent ones. The others are one."""
LONGEST_TEXT = 120
OTHERS = "(others)"
_REST = tuple(stage for stage in TRANSFER if stage != "upload")
_MOST_SIZES = 12  # of payloads, each of which is a kind; more of them are parted in quarters
_MOST_STEPS = 1000
_OF_SAMPLES = [
    "request_id", "scheduled_ns", "worker", "connected_ns", "sent_ns", "status", "error", "failed_checks", "bytes_sent",
    "attempts",
]  # fmt: skip


def read(folder: RunFolder) -> Columns:
    """The ended requests of a run. Raises RunFolderError."""
    with ThreadPoolExecutor(1) as beside:  # half of the work, and all of the sorting, needs no lock of the interpreter
        return _read(folder, beside)


def _read(folder: RunFolder, beside: Executor) -> Columns:
    noted = beside.submit(read_columns, folder, "samples", _OF_SAMPLES)
    keys = read_columns(folder, "ledger", ["request_id", "name", "phase", "step", "ok", "split", "latency_s"])
    samples = _samples_of(folder, noted.result(), keys["request_id"].to_numpy(dtype=np.int64))
    scheduled = samples["scheduled_ns"].to_numpy(dtype=np.int64)
    order = np.argsort(scheduled, kind="stable") if (np.diff(scheduled) < 0).any() else None
    if order is not None:
        keys, samples, scheduled = keys.iloc[order], samples.iloc[order], scheduled[order]
    ok = keys["ok"].to_numpy(dtype=np.bool_)
    with_half = keys["split"].ne(Split.NONE.value).to_numpy(dtype=np.bool_)
    latency = keys["latency_s"].to_numpy(dtype=np.float64)
    by_latency = beside.submit(np.argsort, latency, kind="stable")
    names, stages, known = _stages(folder, order, with_half)
    return Columns(
        request_id=_small(keys["request_id"].to_numpy(dtype=np.int64)),
        at_s=(scheduled - (scheduled[0] if len(scheduled) else 0)) / 1e9,
        latency_s=latency,
        ok=ok,
        with_half=with_half,
        stage_names=names,
        stages=stages,
        known=known,
        name=kinds_of(keys["name"]),
        phase=kinds_of(keys["phase"]),
        step=_steps(keys["step"].to_numpy(dtype=np.int64)),
        outcome=_outcomes(samples, ok),
        others=tuple(_others(samples)),
        by_latency=_small(by_latency.result()),
    )


def _samples_of(folder: RunFolder, samples: pd.DataFrame, wanted: Integers) -> pd.DataFrame:
    """What the client noted of these requests, in their order."""
    known = samples["request_id"].to_numpy(dtype=np.int64)
    if np.array_equal(known, wanted):
        return samples
    at = _places(known, wanted)
    if (at < 0).any():
        message = f"the tables 'ledger' and 'samples' of {folder.path} are of different requests"
        raise RunFolderError(message, f"`harness report {folder.path}` writes the ledger again")
    return samples.iloc[at]


def _places(known: Integers, wanted: Integers) -> Rows:
    """Where each of the wanted ids is among the known ones, -1 where it is not."""
    if not len(known):
        return np.full(len(wanted), -1)
    least, most = int(known.min()), int(known.max())
    if most - least < 4 * len(known) + 1000:  # as the ids of a run are: a list of places is faster than a search
        places = np.full(most - least + 2, -1)
        places[known[::-1] - least] = np.arange(len(known))[::-1]
        inside = (wanted >= least) & (wanted <= most)
        found: Rows = places[np.where(inside, wanted - least, -1)]
        return found
    order = np.argsort(known, kind="stable")
    at = order[np.minimum(np.searchsorted(known, wanted, sorter=order), len(known) - 1)]
    return np.where(known[at] == wanted, at, -1)


def _stages(folder: RunFolder, order: Rows | None, with_half: Flags) -> tuple[tuple[str, ...], Any, NDArray[np.bool_]]:
    """Names, seconds and where they are known, of the stages that hold any time; one column is read at a time."""

    def column(stage: str) -> NDArray[np.float32]:
        found = read_columns(folder, "ledger", [f"{stage}_s"])[f"{stage}_s"].to_numpy(dtype=np.float32)
        return found if order is None else found[order]

    upload = column("upload")
    whole = bool(np.isnan(upload[with_half]).any())
    wanted = (
        [("transfer" if s == "upload" else s) for s in STAGES if not (whole and s in _REST)] if whole else [*STAGES]
    )
    shape = (len(wanted), len(with_half))
    seconds, known = np.zeros(shape, np.float32), np.zeros(shape, np.bool_)
    kept: list[str] = []
    for stage in wanted:
        its, at = upload if stage == "upload" else column(stage), len(kept)
        known[at] = np.isfinite(its)
        seconds[at] = np.where(known[at], its, 0.0)
        if (seconds[at] > 0.0).any():
            kept.append(stage)
    return tuple(kept), seconds[: len(kept)], known[: len(kept)]


# --- texts -------------------------------------------------------------------------------------------------


def kinds_of(column: pd.Series) -> Kinds:
    """The texts of a column; beyond MOST_TEXTS the rarest are one."""
    found = column if isinstance(column.dtype, pd.CategoricalDtype) else column.astype(object).astype("category")
    return _most_frequent(np.asarray(found.cat.codes, dtype=np.int64), found.cat.categories)


def _most_frequent(codes: Integers, texts: Sequence[object] | pd.Index) -> Kinds:
    if len(texts) <= MOST_TEXTS:
        return Kinds(_small(codes), tuple(told_apart(str(text)) for text in texts))
    counts = np.bincount(codes[codes >= 0], minlength=len(texts))
    kept = np.sort(np.argsort(-counts, kind="stable")[: MOST_TEXTS - 1])
    of = np.full(len(texts) + 1, MOST_TEXTS - 1)
    of[kept], of[-1] = np.arange(len(kept)), -1
    return Kinds(_small(of[codes]), (*(told_apart(str(texts[i])) for i in kept.tolist()), OTHERS))


def told_apart(text: str) -> str:
    """The text, or the head of a long one and a digest: it has to fit into the address of a page."""
    if len(text) <= LONGEST_TEXT:
        return text
    digest = hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=4).hexdigest()
    return f"{text[: LONGEST_TEXT - 12]}… #{digest}"


def _outcomes(samples: pd.DataFrame, ok: Flags) -> Kinds:
    """What went wrong with each request, in words; ANSWERED is the first."""
    failed = samples[~ok]
    errors, checks = (failed[name].astype("category") for name in ("error", "failed_checks"))
    status = failed["status"].to_numpy(dtype=np.float64, na_value=-1.0).astype(np.int64)
    status = np.clip(np.where(status < 0, -1, status), -1, 999) + 1
    both = (errors.cat.codes.to_numpy(np.int64) + 1) * (len(checks.cat.categories) + 1)
    whole = (both + checks.cat.codes.to_numpy(np.int64) + 1) * 1001 + status
    different, first, which = np.unique(whole, return_index=True, return_inverse=True)
    counts = np.bincount(which, minlength=len(different))
    kept = np.argsort(-counts, kind="stable")[: MOST_TEXTS - 2]
    of = np.full(len(different), len(kept) + 1)
    of[kept] = np.arange(1, len(kept) + 1)
    codes = np.zeros(len(ok), np.int64)
    codes[~ok] = of[which]
    rows = failed.iloc[first[kept]]
    texts = [told_apart(_what(*row)) for row in zip(rows["error"], rows["failed_checks"], rows["status"], strict=True)]
    return Kinds(_small(codes), (ANSWERED, *texts, *([OTHERS] if len(different) > len(kept) else [])))


def _what(error: object, checks: object, status: float | None) -> str:
    """As the report words it."""
    if isinstance(error, str):
        return error if error != ANSWERED else f"error: {error}"
    number = f"{status:.0f}" if status is not None and status == status else "none"
    if isinstance(checks, str):
        return f"status {number}" if checks == "status" else f"check {checks} failed (status {number})"
    return f"failed (status {number})"


# --- attributes --------------------------------------------------------------------------------------------


def _others(samples: pd.DataFrame) -> list[tuple[str, Kinds]]:
    sent = samples["sent_ns"].notna().to_numpy()
    # A client that timed the exchange as a whole does not tell whether it had to connect.
    connection = np.where(sent, samples["connected_ns"].notna().to_numpy(), -1).astype(np.int8)
    resent = (samples["attempts"].to_numpy(dtype=np.int64) > 1).astype(np.int8)
    return [
        ("worker", kinds_of(samples["worker"])),
        ("connection", Kinds(connection, ("kept open", "new"))),
        ("attempts", Kinds(resent, ("sent once", "sent twice"))),
        ("payload", _sizes(samples["bytes_sent"].to_numpy(dtype=np.int64))),
    ]


def _sizes(sizes: Integers) -> Kinds:
    """Each size of a few, else the quarters of the requests by size."""
    different = np.unique(sizes)
    if len(different) <= _MOST_SIZES:
        return Kinds(_small(np.searchsorted(different, sizes)), tuple(f"{format_bytes(s)}" for s in different.tolist()))
    edges = np.unique(np.quantile(sizes, (0.25, 0.5, 0.75), method="inverted_cdf"))
    words = [format_bytes(edge) for edge in edges.tolist()]
    between = [f"more than {low}, up to {high}" for low, high in pairwise(words)]
    return Kinds(_small(np.searchsorted(edges, sizes)), (f"up to {words[0]}", *between, f"more than {words[-1]}"))


def _steps(step: Integers) -> Kinds:
    """People count from 1."""
    most = int(step.max()) if len(step) else 0
    codes = np.where((step < 0) | (step >= _MOST_STEPS), -1, step)
    return Kinds(_small(codes), tuple(str(number + 1) for number in range(min(most, _MOST_STEPS - 1) + 1)))


def _small(values: NDArray[Any]) -> NDArray[np.signedinteger[Any]]:
    """The same whole numbers in as few bytes as hold them."""
    least, most = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    fits = next(
        t for t in (np.int8, np.int16, np.int32, np.int64) if np.iinfo(t).min <= least and most <= np.iinfo(t).max
    )
    found: NDArray[np.signedinteger[Any]] = values.astype(fits)
    return found
