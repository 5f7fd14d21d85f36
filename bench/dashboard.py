"""A run of a million requests in the dashboard and as a report: `python bench/dashboard.py [REQUESTS] [--run FOLDER]`.

The run is made up (tests/million_run.py: six spans a request, three load steps) and concluded, or is the one given.
Then `harness ui` is started over it, and every page is opened in a real browser, cold (the first one that asks) and
again: time to the answer, until the first window of it is drawn, and until everything is, scrolled through (charts are
made as they come into view, one after the other). At the end the peak memory of the dashboard, the size of report.html,
and what it takes to render it.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support import cores, table

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests import million_run  # noqa: E402 - the checkout is put on the path first
from tests.browser_support import BROWSERS, FLAGS  # noqa: E402

PAGE_S = 1.0
MEMORY_MB = 1_000
REPORT_MB = 3.0
PAGES = {
    "runs": "/", "run": "/runs/{run}", "requests": "/runs/{run}/requests",
    "one request": "/runs/{run}/requests/{middle}", "capacity": "/capacity?run={run}", "live": "/live",
    "compare": "/compare?a={run}&b={run}",
}  # fmt: skip
DRAWN = """(all) => document.readyState === 'complete'
    && [...document.querySelectorAll('[aria-busy=true], [data-chart], #heatmap')].every((e) => {
        const box = e.getBoundingClientRect();
        if (e.hidden || (!all && (box.top > innerHeight || box.bottom < 0))) return true;
        return e.ariaBusy !== 'true' && (!e.matches('[data-chart], #heatmap') || e.querySelector('svg, .failed-here'));
    })"""
"""Whether what is to be drawn is there: in the window, or on the whole page."""


@contextmanager
def dashboard(runs: Path) -> Iterator[tuple[str, int]]:
    """Its URL and process id."""
    command = [sys.executable, "-m", "harness", "ui", str(runs), "--port", "0", "--no-open"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)
    assert child.stdout is not None
    try:
        for line in child.stdout:
            if found := re.search(r"http://[\w.:\[\]]+", line):
                yield found[0], child.pid
                break
        else:
            sys.exit("the dashboard did not start")
    finally:
        child.terminate()
        child.wait(timeout=20)


def peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024 / 1e6


def opened(browser: Any, address: str) -> tuple[float, float, float]:
    """Seconds until the first byte of the page, until its first window is drawn, and until all of it is."""
    page = browser.new_page()
    began = time.perf_counter()
    page.goto(address, wait_until="commit")
    answered = time.perf_counter() - began
    page.wait_for_function(DRAWN, arg=False, timeout=60_000)
    first = time.perf_counter() - began
    for chart in page.locator("[data-chart]:not([hidden])").all():
        if not chart.is_hidden():
            chart.evaluate("e => e.scrollIntoView({behavior: 'instant'})")
            page.wait_for_timeout(1)
    page.wait_for_function(DRAWN, arg=True, timeout=60_000)
    whole = time.perf_counter() - began
    page.close()
    return answered, first, whole


def measured(runs: Path, run: str, middle: int) -> tuple[list[list[str]], tuple[float, float], float]:
    """The rows of the table, the slowest answer and first window (s), the peak of the dashboard (MB)."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        sys.exit("no browser here: scripts/install-browser")
    rows, answer, window = [], 0.0, 0.0
    with dashboard(runs) as (url, pid), sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, headless=True, args=FLAGS)
        browser = chromium.new_context(viewport={"width": 1280, "height": 900})  # with a cache, as people have
        opened(browser, f"{url}/static/icon.svg")  # the browser itself starts, and the chart library is made
        time.sleep(4.0)
        for name, place in PAGES.items():
            address = url + place.format(run=run, middle=middle)
            cold, again = opened(browser, address), opened(browser, address)
            answer, window = max(answer, cold[0], again[0]), max(window, cold[1], again[1])
            rows.append([name, *(f"{each:.2f}" for each in (*cold, *again)), f"{peak_mb(pid):.0f}"])
        chromium.close()
        return rows, (answer, window), peak_mb(pid)


def rendered(run: Path) -> tuple[float, float]:
    """Seconds that `harness report` takes with the conclusions, and MB of report.html."""
    with tempfile.TemporaryDirectory(prefix="bench-dashboard-") as folder:
        page = Path(folder) / "report.html"
        began = time.perf_counter()
        command = [sys.executable, "-m", "harness", "report", str(run), "--format", "html", "-o", str(page)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        return time.perf_counter() - began, page.stat().st_size / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("requests", nargs="?", type=int, default=million_run.REQUESTS)
    parser.add_argument("--run", type=Path, help="a run folder that is there already")
    options = parser.parse_args()
    print(cores.headline())
    with tempfile.TemporaryDirectory(prefix="bench-dashboard-") as made:
        run = options.run
        if run is None:
            run = million_run.store(Path(made), options.requests)
            million_run.conclude(run)
        rows, (answer, window), memory = measured(run.parent, run.name, options.requests // 2)
        seconds, size = rendered(run)
    print(f"{options.requests:,} requests; seconds; MB: the most the dashboard had until then")
    table.show(["page", "answer", "window", "whole", "again", "window", "whole", "MB"], rows)
    print(f"report.html: {size:.2f} MB, {seconds:.0f} s with all conclusions")
    held = [
        table.line(f"the answer of any page within {answer:.2f} s (at most {PAGE_S:g})", answer < PAGE_S),
        table.line(f"the first window of any page drawn within {window:.2f} s (at most {PAGE_S:g})", window < PAGE_S),
        table.line(f"the dashboard within {memory:.0f} MB (at most {MEMORY_MB:,})", memory < MEMORY_MB),
        table.line(f"report.html of {size:.2f} MB (at most {REPORT_MB:g})", size <= REPORT_MB),
    ]
    sys.exit(not all(held))


if __name__ == "__main__":
    main()
