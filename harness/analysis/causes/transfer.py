"""The way to the service and back."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.analysis.causes.loop import grows_with_bytes, mostly_small
from harness.analysis.causes.scene import Flags, Floats, Scene
from harness.analysis.doubts import SMALL_REQUEST, TAKEN_LATE
from harness.diagnosis import Cause
from harness.units import format_bytes, format_duration, format_share

MUCH = 0.40
ACK_FROM_S, ACK_TO_S = 0.038, 0.046
"""A receiver on Linux holds its acknowledgement back for 40 ms when it expects to send something itself."""
ACK_AROUND_S = 0.008
ACK_SHARE = 0.15
ACK_COST = 0.10
ACK_MOST = 0.9
"""A timer strikes some: where so many of a kind take this long, they are far away or told to wait."""
ACK_NONE_S = 0.010
"""Without the timer a small message is through in less."""
ACK_WITHOUT = 0.05
CLUSTERED = 3.0
CONNECT = 0.25


def upload(scene: Scene) -> Cause | None:
    """The transfer in. That it is a wait for the service at the end of the way must have been ruled out before."""
    took_s = scene.mean("upload")
    if not scene.is_worth(took_s, MUCH):
        return None
    grows = grows_with_bytes(scene, "upload", "bytes_sent")
    if scene.has_warning(TAKEN_LATE) and mostly_small(scene) is not False and not grows:
        return None  # so little is not long on the way: whatever they wait for, sending less changes nothing
    speed = _speed(scene, "upload", "bytes_sent")
    return Cause(
        code="upload",
        stage="upload",
        resource=None,
        model=None,
        sentence=f"The way to the service takes {_part(scene, took_s)} of the time: {scene.of_mean(took_s)}{speed}.",
        remedy="send less (smaller or compressed images), or bring clients and service closer together",
        evidence=(
            f"upload: {scene.counted(took_s)}{speed}",
            *(("larger requests take longer on the way",) if grows else ()),
        ),
        cost_s=took_s,
    )


def download(scene: Scene) -> Cause | None:
    """The transfer out: a large answer, a slow way, or a client that reads slowly; the service cannot tell which."""
    took_s = scene.mean("download")
    if not scene.is_worth(took_s, MUCH):
        return None
    speed = _speed(scene, "download", "bytes_received")
    return Cause(
        code="download",
        stage="download",
        resource=None,
        model=None,
        sentence=f"The way back takes {_part(scene, took_s)} of the time, or the client reads slowly: "
        f"{scene.of_mean(took_s)}{speed}.",
        remedy="answer with less (fewer fields, compression), and look at the link and at how fast clients read",
        evidence=(f"download: {scene.counted(took_s)}{speed}",),
        cost_s=took_s,
    )


def _part(scene: Scene, seconds: float) -> str:
    return "most" if scene.share(seconds) > 0.5 else "much"


def _speed(scene: Scene, stage: str, attribute: str) -> str:
    """E.g. ", 240 KiB at 1.2 MiB/s"; empty where sizes are not known."""
    sizes = scene.attribute(attribute)
    if sizes is None or not np.isfinite(sizes).any():
        return ""
    mean, took_s = float(np.nanmean(sizes)), scene.mean(stage)
    if mean <= 0 or took_s <= 0:
        return ""
    return f", {format_bytes(mean)} on average at {format_bytes(mean / took_s)}/s"


def delayed_ack(scene: Scene) -> Cause | None:
    """Small messages that take 40 ms, and hardly ever a little less or more."""
    if all(ACK_FROM_S <= float(np.median(scene.column(s))) < ACK_TO_S for s in ("upload", "download")):
        return None  # as long there as back: that is the distance
    for stage, attribute in (("upload", "bytes_sent"), ("download", "bytes_received")):
        if stage not in scene.means:
            continue
        took, sizes = scene.column(stage), scene.attribute(attribute)
        small = sizes <= SMALL_REQUEST if sizes is not None else np.ones(len(took), np.bool_)
        small &= ~_always(scene, small, took)
        hit = small & (took >= ACK_FROM_S) & (took < ACK_TO_S)
        below = small & (took >= ACK_FROM_S - ACK_AROUND_S) & (took < ACK_FROM_S)
        above = small & (took >= ACK_TO_S) & (took < ACK_TO_S + ACK_AROUND_S)
        share, cost_s = float(hit.mean()), float(took[hit].sum() / len(took))
        if share < ACK_SHARE or hit.sum() < CLUSTERED * (below | above).sum() or not scene.is_worth(cost_s, ACK_COST):
            continue
        if scene.column(stage)[~hit & small].size and float(np.median(took[~hit & small])) > ACK_FROM_S / 2:
            continue  # the others are as slow: that is no timer
        if float((took[small] < ACK_NONE_S).mean()) < ACK_WITHOUT:
            continue
        return _delayed_ack(scene, stage, int(hit.sum()), share, cost_s)
    return None


def _always(scene: Scene, small: Flags, took: Floats) -> Flags:
    """Requests of names that nearly all take that long: a stream with a pause in it does so by design."""
    hit = pd.Series(small & (took >= ACK_FROM_S) & (took < ACK_TO_S), index=scene.rows.index)
    found: Flags = (hit.groupby(scene.rows["name"].to_numpy()).transform("mean") >= ACK_MOST).to_numpy(dtype=np.bool_)
    return found


def _delayed_ack(scene: Scene, stage: str, count: int, share: float, cost_s: float) -> Cause:
    return Cause(
        code="delayed_ack",
        stage=stage,
        resource=None,
        model=None,
        sentence=(
            f"{format_share(share)} of the requests lose 40 ms in {stage}, though little is sent: one side "
            "sends in two small pieces and the other holds its acknowledgement back."
        ),
        remedy="send head and body in one write, or set TCP_NODELAY on the sending side (a proxy in between, too)",
        evidence=(
            f"{stage} of {format_duration(ACK_FROM_S)} to {format_duration(ACK_TO_S)}: {count:,} of "
            f"{len(scene.rows):,} requests",
            f"cost: {scene.counted(cost_s)}",
        ),
        cost_s=cost_s,
    )


def connections(scene: Scene) -> Cause | None:
    """Connections that are made anew."""
    took_s = scene.mean("connect")
    if not scene.is_worth(took_s, CONNECT):
        return None
    new = float((scene.column("connect") > 0).mean())
    return Cause(
        code="connections",
        stage="connect",
        resource=None,
        model=None,
        sentence=f"Connecting takes much of the time: {scene.of_mean(took_s)}; {format_share(new)} of the requests "
        "could not use an open connection.",
        remedy="keep connections open (keep-alive on both sides, a longer idle timeout of service and proxy)",
        evidence=(
            f"connect: {scene.counted(took_s)}",
            f"new connections: {format_share(new)} of {len(scene.rows):,} requests",
        ),
        cost_s=took_s,
    )
