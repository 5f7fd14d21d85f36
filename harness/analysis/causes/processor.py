"""Too little processor for what runs: too many threads, too few cores, one thread at a time."""

from __future__ import annotations

from harness.analysis.causes.queues import Pool
from harness.analysis.causes.scene import GRAIN_S, WAITS, WORK, Scene
from harness.analysis.causes.service import idle, library_s, stage_waits, unknown_s
from harness.analysis.causes.vitals import MOSTLY, Processor
from harness.diagnosis import Cause, WorkFindings
from harness.units import format_duration, format_share

STRETCHED = 0.60
"""Work whose threads run less than this share of the time is held up."""
MUCH = 0.25
FULL_COST = 0.20
ONE_CORE = 0.70
"""Of the readings that say one core, for the interpreter's lock to be what limits."""
AT_ONCE = 1.5
PART_UNKNOWN = 0.10
"""Of the time outside queues: more of it without CPU time may be what fills the processor."""
WAITS_ITSELF = 0.5


def _all_work(scene: Scene, without: str | None = None) -> WorkFindings | None:
    found = [work for work in scene.facts.work if work.stage in WORK and work.stage != without]
    wall_s, cpu_s = sum(work.wall_s for work in found), sum(work.cpu_s for work in found)
    if not found or wall_s <= 0:
        return None
    return WorkFindings("all stages", min(work.n for work in found), wall_s, cpu_s, cpu_s / wall_s)


def oversubscribed(scene: Scene, processor: Processor | None) -> Cause | None:
    """More threads want to run than there are cores: they take each other's time.

    Threads of a library (ONNX, OpenMP) work while the thread that called it waits: processor time that no stage's
    own thread spent tells that from a stage that waits for something outside. Where cores are free they do no harm.
    """
    if processor is None or not _is_short(scene, processor):
        return None
    apart_s = scene.latency_s - scene.mean(*WAITS)
    for work in (scene.facts.works("inference"), _all_work(scene)):
        if work is None or work.busy > STRETCHED or work.wall_s < MUCH * apart_s:
            continue
        outside = library_s(scene, processor, work)
        if outside is None and not (processor.is_full and _all_stand_still(scene, apart_s)):
            continue
        if scene.is_worth(work.waits_s, 0.0):
            return _oversubscribed(scene, processor, work, outside)
    return None


def _is_short(scene: Scene, processor: Processor) -> bool:
    """Whether the service lacks cores: most readings near its limit, or a crowded machine and no idle service."""
    return processor.is_full or (scene.is_crowded and processor.used >= MUCH * processor.limit)


def _all_stand_still(scene: Scene, apart_s: float) -> bool:
    """Whether all stages suffer: CPU known for nearly all, and none that waits far more than the others do."""
    if unknown_s(scene) > PART_UNKNOWN * apart_s:
        return False
    found = [idle(scene, stage) for stage in WORK]
    return not any(i and i.usual is not None and i.wait_s > WAITS_ITSELF * i.work.waits_s >= GRAIN_S for i in found)


def _oversubscribed(scene: Scene, processor: Processor, work: WorkFindings, outside: float | None) -> Cause:
    threads = scene.vital("process.thread.count")
    cores = max(1, round(processor.limit))
    evidence = [
        f"{work.stage}: {format_duration(work.wall_s)} per request, of which its thread ran "
        f"{format_duration(work.cpu_s)} ({format_share(work.busy)}), n = {work.n:,} requests",
        processor.text,
    ]
    if outside is not None:
        evidence.append(f"other threads of the service used {format_duration(outside)} of processor time per request")
    if len(threads):
        evidence.append(f"{int(threads.max())} threads in the service, for {processor.limit:g} cores")
    return Cause(
        code="oversubscribed",
        stage="inference" if work.stage == "inference" else None,
        resource="cpu",
        model=None,
        sentence=(
            f"More threads want to run than the service has cores ({processor.limit:g}): work takes "
            f"{format_duration(work.wall_s)} per request, and its thread runs only {format_share(work.busy)} of that."
        ),
        remedy=f"give the models one thread each (ONNX intra_op_num_threads=1, OMP_NUM_THREADS=1), and as many workers "
        f"as there are cores ({cores})",
        evidence=tuple(evidence),
        cost_s=work.waits_s,
    )


def gil(scene: Scene, pool: Pool, processor: Processor | None) -> Cause | None:
    """Python code of one process runs in one thread at a time: several requests share one core, others are free."""
    work = _all_work(scene)
    if processor is None or work is None or processor.processes > 1 or processor.limit < 2:
        return None
    in_use = (pool.busy or 0.0) * (pool.at_once or 0)
    inside = max([in_use, *(step.in_flight or 0.0 for step in scene.facts.steps)])
    if work.busy > STRETCHED or processor.around_one < ONE_CORE or inside < AT_ONCE:
        return None
    if not scene.is_worth(work.waits_s, MUCH) or library_s(scene, processor, work) is not None:
        return None
    return Cause(
        code="gil",
        stage=None,
        resource="gil",
        model=None,
        sentence=(
            f"The service uses one core of {processor.limit:g} while several requests are inside: their threads run "
            f"only {format_share(work.busy)} of the time, as Python code of one process does."
        ),
        remedy="run several processes of the service (uvicorn --workers), or move the Python loops into code that "
        "releases the interpreter lock",
        evidence=(
            f"work: {format_duration(work.wall_s)} per request, of which threads ran {format_duration(work.cpu_s)}, "
            f"n = {work.n:,} requests",
            f"{processor.text}; about one core in {format_share(processor.around_one)} of them",
            f"{inside:.1f} requests in the service on average",
        ),
        cost_s=work.waits_s,
    )


def cpu_saturated(scene: Scene, processor: Processor | None) -> Cause | None:
    """No core is left, and the work is real. For a queue in front of it see thread_pool, which excludes this."""
    if processor is None or processor.at_limit < MOSTLY:
        return None
    work = _all_work(scene)
    cost_s = scene.mean("queue", "queue_est", "other") + (work.waits_s if work is not None else 0.0)
    if not scene.is_worth(cost_s, FULL_COST):
        return None
    busy = () if work is None else (f"work: threads ran {format_share(work.busy)} of it, n = {work.n:,} requests",)
    return Cause(
        code="cpu_saturated",
        stage=None,
        resource="cpu",
        model=None,
        sentence=f"The service has no processor time left: it used {processor.used:.2f} of {processor.limit:g} cores.",
        remedy="add cores, or machines, or make the work cheaper (a smaller model, smaller inputs)",
        evidence=(processor.text, *busy, f"waiting inside the service: {scene.counted(cost_s)}"),
        cost_s=cost_s,
    )


def machine_full(scene: Scene, processor: Processor | None) -> Cause | None:
    """The machine had no core left, the service used little of it, and its threads stood still: other programs, the
    generator among them, took the processor. Told of the machine of the generator, where the service may run, too.
    A stage that waits by itself is told apart."""
    if not scene.is_crowded or processor is None or processor.used >= MOSTLY * processor.limit:
        return None
    alone = stage_waits(scene, processor)
    work = _all_work(scene, without=alone.stage if alone is not None else None)
    if work is None:
        return None
    if work.busy > STRETCHED or not scene.is_worth(work.waits_s, MUCH):
        return None
    return Cause(
        code="machine_full",
        stage=None,
        resource="cpu",
        model=None,
        sentence=(
            f"The machine of the test had no processor time left, and the service used {processor.used:.2f} cores: its "
            f"threads ran only {format_share(work.busy)} of the {format_duration(work.wall_s)} of work per request."
        ),
        remedy="run the test again on a quieter machine, or give service and generator cores of their own; if the "
        "service runs elsewhere, look for what its stages wait for",
        evidence=(
            processor.text,
            f"work: {format_duration(work.wall_s)} per request, of which threads ran {format_duration(work.cpu_s)}, "
            f"n = {work.n:,} requests",
        ),
        cost_s=work.waits_s,
    )
