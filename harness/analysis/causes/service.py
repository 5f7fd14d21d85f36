"""What goes on inside the stages: work that waits, and work around the models that takes most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.analysis.causes.scene import GRAIN_S, WAITS, WORK, Scene
from harness.analysis.causes.vitals import Processor, per_request
from harness.diagnosis import Cause, WorkFindings
from harness.units import format_duration, format_share

MUCH = 0.25
"""Waiting inside a stage with a smaller share of the time not spent in queues is no cause."""
IDLE = 0.50
"""A stage that is busy for less than this waits more than it works."""
CROWDED = 0.80
"""Of the time that others leave it on average: threads that share cores run less, and do not wait for anything else."""
ELSEWHERE = 0.50
"""Processor time outside the stages of so much of the waiting is what the stage waited for: threads of a library."""
FAR_MORE = 2.0
PART = 0.10
"""On a machine without a free core threads of a library, too, wait for one: then twice the work of the threads that
carry requests tells them, for a smaller part of the waiting."""
LEAST_COMPARED_S = 0.005
LEAST_BUSY = 0.3
MOST = 0.50
"""A stage around the models that takes more than this is worth a look, whatever it does."""
NEARLY_ALL = 0.80
"""Without any inference marked, time that no stage claims is worth a word from here on."""
MAIN_MODEL = 0.6
LASTING = 0.5
HARDLY = 0.02
"""A stage so little busy would be stretched fifty times over, were it for the processor."""
HARDLY_OF_USUAL = 0.10
EVEN = 0.20
"""Standard deviation of the means of a run's tenths, over their mean."""


@dataclass(frozen=True, slots=True)
class Idle:
    """A stage's waiting inside: `wait_s` of it is more than its share in what slowed down all the work."""

    work: WorkFindings
    wait_s: float
    busy: float  # the cold start left out
    usual: float | None  # how busy the other stages are, at least LEAST_BUSY; None: they are too short to compare


def idle(scene: Scene, stage: str) -> Idle | None:
    """A machine with too few cores stretches all stages alike: what the other stages suffer is no waiting of this one,
    nor is the cold start, which is told apart. None where CPU time was not recorded."""
    work = scene.facts.works(stage)
    if work is None or work.wall_s <= 0:
        return None
    others = [w for w in scene.facts.work if w.stage != stage and w.stage in WORK]
    others_s, cpu_s = sum(w.wall_s for w in others), sum(w.cpu_s for w in others)
    usual = max(LEAST_BUSY, min(1.0, cpu_s / others_s)) if others_s >= LEAST_COMPARED_S else 1.0
    everywhere = next((s.mean.value for s in scene.facts.stages if s.stage == stage), None)
    cold_s = max(0.0, everywhere - scene.mean(stage)) if everywhere is not None else 0.0
    wall_s = work.wall_s - cold_s
    wait_s = min(wall_s - work.cpu_s / usual, scene.mean(stage))
    compared = usual if others_s >= LEAST_COMPARED_S else None
    return Idle(work, wait_s, work.cpu_s / wall_s, compared) if wait_s > 0 else None


def library_s(scene: Scene, processor: Processor | None, work: WorkFindings) -> float | None:
    """Processor time per request of threads that work while the one of the stage waits for them; None where it does
    not explain the waiting, or is not known. What is claimed by no stage may have been work, too, and so may stages
    whose CPU time is not known."""
    spent = per_request(scene, processor) if processor is not None else None
    if spent is None or not scene.facts.work:
        return None
    carried_s = sum(w.cpu_s for w in scene.facts.work) + unknown_s(scene)
    others_s = spent - carried_s - scene.mean("other")
    far_more = scene.is_crowded and others_s >= max(FAR_MORE * carried_s, GRAIN_S, PART * work.waits_s)
    return others_s if others_s >= ELSEWHERE * work.waits_s or far_more else None


def unknown_s(scene: Scene) -> float:
    """Time per request in stages that may have worked all of it: nobody knows their CPU time."""
    return scene.mean(*(stage for stage in WORK if scene.facts.works(stage) is None))


def stage_waits(scene: Scene, processor: Processor | None) -> Cause | None:
    """The stage that waits most for something that is not marked: I/O, the network, a sleep, a lock, a GPU."""
    if processor is not None and processor.is_full:
        return None
    found = [each for each in (idle(scene, stage) for stage in WORK) if each is not None]
    if scene.is_crowded:
        found = [each for each in found if _waits_itself(scene, each)]
    if not found:
        return None
    top = max(found, key=lambda each: each.wait_s)
    least = MUCH * (scene.latency_s - scene.mean(*WAITS))
    if not scene.is_worth(top.wait_s, 0.0) or top.wait_s < least or top.busy > _busiest(processor):
        return None
    if library_s(scene, processor, top.work) is not None or not _lasts(scene, top):
        return None
    stage, work = top.work.stage, top.work
    model = main_model(scene) if stage == "inference" else None
    where = f"{stage} ({model})" if model else stage
    evidence = [
        f"{stage}: {format_duration(work.wall_s)} per request, of which its thread worked "
        f"{format_duration(work.cpu_s)} ({format_share(work.busy)}), n = {work.n:,} requests",
        *(
            f"{w.stage}: its thread worked {format_share(w.busy)} of {format_duration(w.wall_s)}, n = {w.n:,}"
            for w in scene.facts.work
            if w.stage != stage
        ),
    ]
    if processor is not None:
        evidence.append(processor.text)
    if scene.is_crowded:
        evidence.append(
            "the machine of the generator had no core left, but this stage took as long all through the run"
        )
    return Cause(
        code="stage_waits",
        stage=stage,
        resource=None,
        model=model,
        sentence=(
            f"{where.capitalize() if not model else where} waits more than it works: {scene.of_mean(top.wait_s)} "
            f"its thread stood still there."
        ),
        remedy=_remedy(scene, top, where),
        evidence=tuple(evidence),
        cost_s=top.wait_s,
    )


def _remedy(scene: Scene, found: Idle, where: str) -> str:
    """A model that runs elsewhere makes its caller wait by nature: then each call waits alike, and no queue forms."""
    hidden = "a call over the network, a file, a lock, a sleep, a graphics card"
    calm = is_even(scene, found.work.stage) and scene.mean("queue", "queue_est") < MUCH * found.wait_s
    if found.work.stage != "inference" or not calm:
        return f"look into {where} for what it waits for without being marked: {hidden}"
    return (
        f"if the model of {where} runs elsewhere (a graphics card, another service), look there: the thread waits for "
        f"its answer; otherwise look for what is not marked: {hidden}"
    )


def _waits_itself(scene: Scene, found: Idle) -> bool:
    """Whether a machine without a free core does not explain a stage's waiting: that stretches work, all of it by
    similar factors and now more, now less. Not the stage that has next to none, unlike the others, and always waits."""
    if found.busy > HARDLY or (found.usual is not None and found.busy > HARDLY_OF_USUAL * found.usual):
        return False
    return is_even(scene, found.work.stage)


def is_even(scene: Scene, stage: str) -> bool:
    """Whether a stage takes as long all through the run: the means of its tenths differ little."""
    means = np.array([part.mean() for part in np.array_split(scene.column(stage), 10) if len(part)])
    return bool(len(means) and means.mean() > 0 and means.std() <= EVEN * means.mean())


def _lasts(scene: Scene, found: Idle) -> bool:
    """Whether the waiting is there without the two worst tenths of the run: a machine that stood still once is no
    stage that waits."""
    means = sorted(float(part.mean()) for part in np.array_split(scene.column(found.work.stage), 10))
    return float(np.mean(means[:-2])) - found.work.cpu_s >= LASTING * found.wait_s


def _busiest(processor: Processor | None) -> float:
    """How busy a stage that waits may be at most. Work that shares a processor is stretched by 1 / (1 - use)."""
    if processor is None:
        return IDLE
    return min(IDLE, CROWDED * max(0.0, 1.0 - processor.used / processor.limit))


def main_model(scene: Scene) -> str | None:
    """The model that most of inference is spent in, if there is one."""
    top = next(iter(scene.facts.models), None)
    whole = sum(model.mean_per_request_s for model in scene.facts.models)
    return top.model if top is not None and top.mean_per_request_s >= MAIN_MODEL * whole else None


def stage_dominates(scene: Scene) -> Cause | None:
    """More time around the models than in them. Inference as the largest part is what such a service is for."""
    stage = max(("preprocess", "postprocess", "other"), key=scene.mean)
    took_s = scene.mean(stage)
    apart_s = scene.latency_s - scene.mean(*WAITS)
    if not scene.is_worth(took_s, 0.0) or took_s < MOST * apart_s or took_s <= scene.mean("inference"):
        return None
    is_marked = scene.mean("inference") > 0
    if not is_marked and (stage != "other" or took_s < NEARLY_ALL * apart_s):
        return None  # nothing says that there is a model at all
    work = scene.facts.works(stage)
    evidence = [f"{stage}: {scene.counted(took_s)}"]
    if is_marked:
        evidence.append(f"inference: {scene.counted(scene.mean('inference'))}")
    if work is not None:
        evidence.append(f"its thread worked {format_share(work.busy)} of that, n = {work.n:,}")
    unclaimed = stage == "other"
    return Cause(
        code="stage_dominates",
        stage=stage,
        resource=None,
        model=None,
        sentence=(
            f"Most of the time inside the service is claimed by no stage: {scene.of_mean(took_s)}."
            if unclaimed
            else f"{stage.capitalize()} takes more than the models do: {scene.of_mean(took_s)}."
        ),
        remedy=("" if is_marked else 'mark the calls of the models with stage("inference"): no request has any; ')
        + "mark more of the code with stage(), or map more span names in the scenario's `stages:`"
        if unclaimed
        else f"see whether {stage} has to take that long: if it is not what the service is for, try a faster library, "
        "smaller inputs, or work done once instead of per request",
        evidence=tuple(evidence),
        cost_s=took_s,
    )
