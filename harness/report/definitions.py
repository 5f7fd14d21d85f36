"""What each number of a report means, in one sentence each."""

from __future__ import annotations

from harness.analysis.slow.contrast import FALSE_DISCOVERIES
from harness.diagnosis import CLEAR_SHARE

Definitions = tuple[tuple[str, str], ...]

TIMES: Definitions = (
    ("latency", "From the instant a request was scheduled until its last byte reached this machine. Time spent waiting"
     " to be sent counts, so a server that stalls cannot hide."),
    ("service", "From the instant a client session took the request until its last byte. Latency less backlog."),
    ("p50 … p99", "p95 is the smallest duration with at least 95% of the requests at or below it."),
    ("interval", "A 95% interval is made so that it holds the true value in 95 of 100 such runs. Requests that queue"
     " behind each other say less than independent ones, and the interval is wider for it."),
    ("– (needs N requests)", "The run is too short to put an upper limit on this percentile, so none is printed."),
)  # fmt: skip

STAGES: Definitions = (
    ("server half", "What the service itself recorded of a request: the spans in which it waited and worked. The other"
     " half is what the load generator saw. Only with both are the stages inside the service known."),
    ("backlog", "Scheduled, but no client session had taken it yet: the load generator's own delay."),
    ("transfer", "connect + upload + download."),
    ("connect", "From taking the request until just before the first byte is written: name lookup, TCP, TLS. Zero on a"
     " reused connection."),
    ("upload", "From the first byte written until the service begins to handle the request, and, after that, the time"
     " it waits for the rest of the body."),
    ("queue", "Waits the service recorded: for a thread, a lock, a semaphore, a batch."),
    ("queue (est.)", "Waiting before the service could record anything: accepting the connection, a busy event loop."
     " Estimated against a run at low load and taken out of upload; absent without such a reference."),
    ("preprocess, inference, postprocess", "Work the service marked as such. Each instant belongs to the deepest stage"
     " open; stages open in parallel share it equally."),
    ("other", "Time inside the service that no stage claims: routing, validation, serialisation."),
    ("download", "Inside the service, waiting to hand over the answer; then until its last byte reached this machine."),
    ("unsplit", "The service gave no account of this request: first byte written until last byte received."),
)  # fmt: skip

COLUMNS: Definitions = (
    ("mean", "Arithmetic mean over the requests named beside the table. Stage means add up to the mean latency of those"
     " same requests."),
    ("share", "The stage's mean divided by the mean latency."),
    ("p50, p95 of a stage", "Of that stage on its own. They do not add up: a request slow in one stage need not be slow"
     " in the others."),
    ("ms a call, ms a request", "Mean length of one call of the model; and all its calls together, spread over every"
     " request, those that never called it included."),
    ("waits, ms a wait", "Waits for one resource, and their mean length. Spread over every request they may be more"
     " than the stage queue, which charges each instant once."),
    ("margin", "How far the observed value is from the limit of an SLO: as a part of the limit; of a share, in"
     " percentage points."),
    ("n", "How many requests a figure stands on."),
)  # fmt: skip

CHARTS: Definitions = (
    ("latency over time", "Each request, or each cell of many, at the instant it was scheduled and at its latency. The"
     " strip above it is how many were scheduled per second."),
    ("stages over time", "Of the requests in a slice of time, every stage's part of their mean latency; below it the"
     " same of the slowest of them alone."),
    ("percentile curve", "Latency against the share of requests that are slower, the share on a logarithmic axis, so"
     " that the slow ones have room. The band is its 95% interval at each percentile, the line of a baseline another"
     " run."),
    ("load curve", "The percentiles of each load step against its rate. Where they rise steeply the service has no room"
     " left."),
    ("waterfall", "One request from the instant it was scheduled: what this machine saw above, what the service"
     " recorded below. A hatched end may be off by as much, because the clocks of two machines agree no better."),
    ("vitals", "What a process said about itself over time: CPU of one core, memory, threads, lag of its event loop. A"
     " point is the mean of its slice of time, of a lag or a pause the longest."),
    ("flame graph of spans", "The mean time of typical requests (the middle tenth by latency) and of the slowest 5%, by"
     " stage, then by model or resource, then by what ran inside it. Each instant counts for the deepest open span, so"
     " the frames of a row add up to the one above."),
    ("flame graph of a call profile", "Where Python code was, sampled at a fixed interval: wall-clock time, waiting"
     " included. Own time is what is left without the calls below."),
)  # fmt: skip

COUNTS: Definitions = (
    ("scheduled, sent", "Requests the load profile asked for in the measured phase, and those really sent."),
    ("ok", "Answered with the expected status, and no check failed."),
    ("failed", "No answer, an unexpected status, or a failed check. In an SLO a failed request ranks as slower than any"
     " that was answered."),
    ("censored", "Still unanswered when the run ended; ranks like a failed one."),
    ("warm-up", "Sent before the measured phase; in no statistic."),
    ("offered, completed", "Scheduled requests, and ok answers, per second of the measured phase, or of a load step. Of"
     " an unstable step, completed is of its second half alone, when the queue had filled: what the service carries."),
)  # fmt: skip

STEPS: Definitions = (
    ("load step", "A stretch of the measured phase with one offered rate, or one number of users."),
    ("steady", "From its begin to its end the requests of the step are of one kind: nothing settles, drifts or piles"
     " up."),
    ("warming", "The first requests of the step are of another kind (caches fill, models load), the later ones are"
     " steady."),
    ("drifting", "Latency goes on changing until the end of the step, so a longer step would have other figures."),
    ("unstable", "More requests come than are answered. They pile up, and a percentile would say how long the test was,"
     " not how fast the service is: none is printed."),
    ("untested", "The step is too short, or has too few requests, to tell any of these."),
    ("in flight, gauge", "How many requests are inside the service on average: completed per second times the mean time"
     " there (Little's law), and, where the service counts them itself, its own figure. The two should agree."),
    ("answered only", "The same statistic without the requests that failed. Not a better latency: who got no answer"
     " waits on."),
)  # fmt: skip

REASONS: Definitions = (
    ("share of the difference", "How much more of a stage slow requests have than typical ones, divided by how much"
     " longer they take. The shares of all stages add up; one that slow requests have less of is below zero."),
    ("no single stage", f"No stage's share is certain to be {CLEAR_SHARE:.0%} or more: several share it, or the"
     " run is too short to tell."),
    ("who held what", "The time a request waited for a resource is charged to whatever had the resource meanwhile. The"
     " charges add up to the whole wait."),
    ("slow against typical", "What slow requests have more often than typical ones, such as a large payload: a trace to"
     " follow, not yet a proof."),
    ("false discoveries", "Among many comparisons some look striking by chance. Those shown are chosen so that on"
     f" average at most {FALSE_DISCOVERIES:.0%} of them are such finds (Benjamini and Hochberg)."),
    ("works, waits", "A stage works while its thread is on the CPU; the rest of its time it waits, for a lock, the"
     " network or a core."),
    ("busy", "The part of a stage's time in which its thread was on the CPU."),
    ("what a fix would give", "The requests of this run go once more, as they came, through the queue they waited in"
     " most, with one thing changed and all else as recorded. Only where the same replay with nothing changed gives"
     " back the waits that were measured is there an answer."),
    ("carries at most", "The rate of this mix of requests at which that queue would never be empty. Latency grows long"
     " before it."),
    ("cause", "One of a catalogue of known causes, named only when this run has evidence for it."),
)  # fmt: skip

VERDICTS: Definitions = (
    ("passed", "Every SLO holds, as far as the run can tell with its confidence."),
    ("nothing judged", "The scenario has no SLO: the run was measured properly, and nobody said what it has to keep."),
    ("failed", "At least one SLO is broken."),
    ("not enough data", "The run can neither confirm nor refute an SLO. Not a pass."),
    ("invalid measurement", "The load generator or the record did not keep its promises, so no figure can"
     " decide anything."),
    ("suspect, invalid", "Limits of a health reading: beyond the first, look twice; beyond the second, the run is"
     " invalid."),
    ("lateness", "How long after its scheduled instant a request was handed to a client session: the generator's own"
     " delay. It is part of backlog, so latency holds it and service does not. A closed loop has no schedule, hence no"
     " lateness."),
    ("kernel stamp", "The instant the kernel received the last byte of an answer. Where it cannot say (TLS, some"
     " systems) the instant the generator read it counts, which a busy generator makes later."),
    ("lost spans", "Spans that a service recorded and that never came: its queue overflowed, or a collector or the"
     " receiver refused them."),
    ("mixed-up traces", "Signs that a service writes what belongs to one request into the trace of another: work"
     " that begins after its request has ended."),
    ("cost of the harness", "What the processes of the harness itself used of one core each, on the machine they ran"
     " on."),
    ("coverage", "The share of measured ok requests with a server half. Where the others are missing at random, stages"
     " are judged on the rest. Where slow ones are missing, or all those of some seconds, no stage is judged or blamed."
     " A handful missing counts as the slowest in a percentile of a stage."),
    ("Cliff's delta", "How much slower one group of requests is than another: +1 when each of the first is slower than"
     " each of the second, 0 when neither is."),
    ("clock offset", "How far the clock of the service is from ours. It divides transfer into upload and download;"
     " their sum does not depend on it. Where it is known too coarsely, both are marked with ±."),
)  # fmt: skip

GROUPS: tuple[tuple[str, Definitions], ...] = (
    ("Times", TIMES),
    ("Stages", STAGES),
    ("Columns", COLUMNS),
    ("Charts", CHARTS),
    ("Counts", COUNTS),
    ("Load steps", STEPS),
    ("Reasons", REASONS),
    ("Verdicts and health", VERDICTS),
)
