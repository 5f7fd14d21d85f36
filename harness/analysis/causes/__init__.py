"""The catalogue of known causes: what makes requests slow, named only where its evidence is in the run.

Which of two causes is told of one and the same waiting is decided here, by what brings about what: a request waits for
a thread because threads stand at a lock, compute in vain or work off one huge request.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from harness.analysis.causes import load, loop, processor, queues, service, transfer, workers
from harness.analysis.causes.generator import DOUBTFUL, generator
from harness.analysis.causes.payload import payload
from harness.analysis.causes.scene import Scene, after, scene_of
from harness.analysis.causes.start import cold_start
from harness.analysis.causes.vitals import Processor, processor_of
from harness.analysis.facts import Facts
from harness.diagnosis import Cause

_QUEUES = ("thread_pool", "lock")
_HOLDERS = ("stage_waits", "stage_dominates")


def find(facts: Facts) -> tuple[Cause, ...]:
    """The causes that the run has evidence for, what costs most first; () when there are none.

    A generator that lost much of the time before it sent comes before all others, and silences those that its delays
    look like; one that was late now and then comes behind. What comes along with a cause, and does not say by itself
    what to do, comes last.
    """
    scene = scene_of(facts)
    its = generator(facts, scene)
    first, behind = (its, None) if its is not None and its.stage is not None else (None, its)
    found = _of_service(scene) if scene is not None else []
    if first is not None:
        found = [cause for cause in found if cause.code not in DOUBTFUL]
    found = _ordered(found)
    along = (
        load.overload(facts, found[0] if found else None),
        load.gc_pauses(scene) if scene is not None else None,
        load.memory_growth(facts),
    )
    return tuple(cause for cause in (first, *found, behind, *along) if cause is not None)


def _ordered(causes: Iterable[Cause]) -> list[Cause]:
    """A queue comes before what its holders do: only the queue grows with the load, and more room in it is the
    smaller change. Without a queue worth a name the stage stands alone."""
    found = sorted(causes, key=lambda cause: -cause.cost_s)
    queue = next((cause for cause in found if cause.code in _QUEUES), None)
    if queue is None:
        return found
    return sorted(found, key=lambda c: -min(c.cost_s, queue.cost_s) + (c.code in _HOLDERS) * 1e-9)


def _of_service(scene: Scene) -> list[Cause]:
    cold = cold_start(scene)
    if cold is None:
        return _settled(scene)
    # All others are looked for among the requests after it; their share of the whole run is that much smaller.
    later = after(scene, cold.settled_ns)
    part = len(later.rows) / len(scene.rows)
    return [cold.cause, *(replace(cause, cost_s=cause.cost_s * part) for cause in _settled(later))]


def _settled(scene: Scene) -> list[Cause]:
    cpu = processor_of(scene)
    pool = queues.pool_of(scene)
    stretched = processor.oversubscribed(scene, cpu) or processor.gil(scene, pool, cpu)
    # Without a core for it the loop is late, too.
    late = loop.event_loop(scene) if stretched is None else None
    return [*_inside(scene, pool, cpu, stretched, late), *_outside(scene, late)]


def _outside(scene: Scene, late: Cause | None) -> list[Cause]:
    """The way. A blocked loop takes requests late and hands answers over late: that is no way."""
    ack = transfer.delayed_ack(scene)
    found = (
        ack,
        None if ack or late else loop.taken_late(scene) or transfer.upload(scene),
        None if ack else transfer.download(scene),
        load.retries(scene) or transfer.connections(scene),
    )
    return [cause for cause in found if cause is not None]


def _inside(
    scene: Scene, pool: queues.Pool, cpu: Processor | None, stretched: Cause | None, late: Cause | None
) -> list[Cause]:
    """What keeps threads for longer is charged with the wait for threads that follows from it; `told` is the share
    of that wait which is charged so."""
    held = queues.lock(scene, pool)
    one_kind, told_of_kind = payload(scene, pool) or (None, 0.0)
    roots: list[tuple[Cause | None, float]] = [
        (stretched, 1.0),
        (held, 1.0 if held is not None and queues.stands_before(scene, pool, held) else 0.0),
        (late, queues.explained(pool, late.cost_s) if late is not None else 0.0),
    ]
    told = max([told_of_kind, *(share for cause, share in roots if cause is not None)])
    threads = queues.thread_pool(scene, pool, cpu, told)
    slow = service.stage_waits(scene, cpu) if stretched is None else None
    if slow is not None and held is not None and queues.holds(scene, held, slow):
        slow = None  # what holds the lock and waits meanwhile is told with the lock
    apart = None if one_kind or late else workers.slow_process(scene)
    if apart is not None and slow is not None and slow.stage == apart.stage and apart.cost_s >= slow.cost_s / 2:
        slow = None  # mostly there: the one process is the narrower place to look
    roots.append((slow, queues.explained(pool, slow.cost_s) if slow is not None and threads is None else 0.0))
    charged = [replace(c, cost_s=c.cost_s + share * pool.wait_s) for c, share in roots if c is not None]
    full = None if stretched or held or threads else processor.cpu_saturated(scene, cpu)
    most = None if late or slow or one_kind or stretched else service.stage_dominates(scene)
    taken = processor.machine_full(scene, cpu) if stretched is None else None
    if apart is not None and most is not None and most.stage == apart.stage:
        most = None  # it does so by that process alone
    others = (one_kind, apart, queues.batch(scene), threads, queues.nameless(scene), full, most, taken)
    return [*charged, *(cause for cause in others if cause is not None)]
