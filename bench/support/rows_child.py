"""Feed what a load process keeps with rows, without a network: `rows_child.py record|seal FOLDER ROWS`; a JSON line
at the end.

`record`: the schedule, the recorder, the live figures and the health readings of a run of so many arrivals. `seal`:
its chunks become Parquet.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path


def record(folder: Path, count: int) -> None:
    import locust  # noqa: F401 - as in a load process

    # isort: split
    from harness.arrivals import schedule
    from harness.load.health import Health
    from harness.load.recorder import Recorder
    from harness.model import Arrivals, LoadProfile, Step

    rate = 20_000.0
    planned = schedule(LoadProfile(Arrivals.POISSON, (Step(rate, count / rate),), 0.0, 1.0, seed=1))
    recorder, health = Recorder(folder / "samples-0.arrows"), Health()
    t0 = time.time_ns()
    for number in range(count):
        at = t0 + number * 50_000
        late_s = (number % 1000) / 1e6
        health.lateness_s.append(late_s)
        recorder((
            number, f"{number:032x}", f"{number:016x}", "small", "measure", 0, "0", at, at + 50_000, None, at + 60_000,
            at + 70_000, at + 300_000, at + 290_000 + number % 4096, at + 310_000, "kernel", 200, None, None, 300, 40,
            1, None, False,
        ))  # fmt: skip
    recorder.close()
    assert len(planned) > 0.9 * count


def seal(folder: Path, count: int) -> None:
    from harness.model import Sample
    from harness.run_folder import RunFolder

    sealed = RunFolder(folder).seal(Sample, "samples")
    rows = getattr(sealed, "num_rows", None)
    assert rows in (None, count), rows
    assert (folder / "samples.parquet").exists()


def main() -> None:
    what, folder, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    began = time.perf_counter()
    {"record": record, "seal": seal}[what](folder, count)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": time.perf_counter() - began, "peak_mib": peak_mib}))


main()
