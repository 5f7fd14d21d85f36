"""Pages, APIs, reports and exports of runs whose every text is hostile, and of folders that were damaged."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from harness.commands.export import command as export
from harness.commands.report import command as report
from harness.dashboard.pages import capacity, compare, explorer, live, request, run, runs
from harness.dashboard.told import told
from harness.following import Follower, history, is_on
from harness.following.lines import FILE, first_line
from harness.run_folder import RunFolder
from tests import hostile_runs, shown_runs
from tests.axe_support import axe
from tests.browser_support import Opener, screenshot, too_wide
from tests.dashboard_support import dashboard, served, settings_of

LARGEST = 5_000_000
LONGEST_S = 10.0
BUILDERS: dict[str, Callable[[Path], Path]] = {
    hostile_runs.SHORT_RUN: hostile_runs.short_run,
    hostile_runs.LONG_RUN: hostile_runs.long_run,
    hostile_runs.MANY_RUN: hostile_runs.many_run,
}
each_run = pytest.mark.parametrize("run_id", BUILDERS, ids=lambda name: name.rpartition("-")[2])
LOOK = """() => ({
    scripts: [...document.scripts].map((s) => s.getAttribute("src")),
    handlers: [...document.querySelectorAll("*")].filter(
        (e) => [...e.attributes].some((a) => /^on/i.test(a.name))).length,
    addresses: [...document.querySelectorAll("[href],[src],[action]")].map(
        (e) => e.getAttribute("href") ?? e.getAttribute("src") ?? e.getAttribute("action")),
    framed: document.querySelectorAll("iframe, object, embed, base, meta[http-equiv=refresh i]").length,
    title: document.title,
    text: document.body.textContent.slice(0, 2000000),
})"""
STREAMS = ("/events",)  # they do not end by themselves


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    for run_id, build in BUILDERS.items():
        build(folder / run_id)
    return folder


def addresses(run_id: str) -> list[str]:
    """Every GET of the dashboard, asked about this run."""
    paths = [
        route.path  # type: ignore[attr-defined]
        for page in (runs, live, run, explorer, request, compare, capacity)
        for route in page.router.routes
        if "GET" in route.methods and not route.path.endswith(STREAMS)  # type: ignore[attr-defined]
    ]
    filled = {
        "{run_id}": run_id,
        "{request_id}": "10",
        "{wanted}": "perfetto",
        "{key}": "latency",
        "{name}": "report.html",
    }
    query = f"?a={run_id}&b={run_id}&run={run_id}"
    return [_filled(path, filled) + query for path in paths]


def _filled(path: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        path = path.replace(name, value)
    return path


@each_run
def test_every_answer_is_bounded_and_soon(folder: Path, run_id: str) -> None:
    with dashboard(folder) as client:
        for address in addresses(run_id):
            began = time.monotonic()
            answer = client.get(address)
            assert answer.status_code < 500, (address, answer.text[:500])
            assert len(answer.content) < LARGEST, (address, len(answer.content))
            assert time.monotonic() - began < LONGEST_S, address
            assert answer.headers["x-content-type-options"] == "nosniff", address
            if "json" in answer.headers.get("content-type", ""):
                json.loads(answer.content.decode("utf-8"))


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with served(settings_of(folder)) as url:
        yield url


PLACES = (
    "/",
    "/runs/{}",
    "/runs/{}/requests",
    "/runs/{}/requests/10",
    "/compare?a={}&b={}",
    "/capacity?run={}",
    "/live",
)


@each_run
@pytest.mark.parametrize("place", PLACES)
def test_nothing_of_a_run_becomes_part_of_a_page(
    folder: Path, url: str, open_page: Opener, run_id: str, place: str
) -> None:
    page = open_page(url + place.format(run_id, run_id), expected=("404", "400"))
    page.wait_for_load_state("networkidle")
    seen = page.evaluate(LOOK)

    assert all(source.startswith("/static/") for source in seen["scripts"])
    assert all(not address.lower().lstrip().startswith(("javascript:", "data:text")) for address in seen["addresses"])
    assert (seen["handlers"], seen["framed"]) == (0, 0)
    assert "49" not in seen["title"]
    if run_id == hostile_runs.SHORT_RUN:
        assert axe(page) == []


@each_run
def test_a_report_holds_hostile_text_as_text(folder: Path, open_page: Opener, run_id: str) -> None:
    path = folder / run_id / "report.html"
    page = open_page(path)
    seen = page.evaluate(LOOK)

    assert path.stat().st_size < LARGEST
    assert (seen["scripts"], seen["handlers"], seen["framed"]) == ([], 0, 0)
    assert too_wide(page) == []
    if run_id == hostile_runs.SHORT_RUN:
        screenshot(page, "report-hostile-light")
        assert axe(page) == []
        assert hostile_runs.TEXTS[0] in seen["title"]
        for text in hostile_runs.TEXTS[:6]:
            assert text in seen["text"]


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def instead(write: Callable[[Path], object]) -> Callable[[Path], None]:
    def replace(path: Path) -> None:
        path.unlink()
        write(path)

    return replace


@each_run
def test_an_export_holds_hostile_text_as_text(folder: Path, tmp_path: Path, run_id: str) -> None:
    asked = [str(folder / run_id), "--format", "otlp,chrome,speedscope,csv", "--requests", "20", "-o", str(tmp_path)]
    ended = CliRunner().invoke(export, asked, catch_exceptions=False)

    assert ended.exit_code == 0, ended.output
    assert len(ended.output) < 20_000
    assert not any(sign in ended.output for sign in "\x00\x1b\u202e")
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) >= 4
    assert all(re.fullmatch(r"[\w.-]{1,80}", path.name) for path in written)
    for path in written:
        if path.suffix in (".json", ".jsonl"):
            for line in path.read_text("utf-8").splitlines() if path.suffix == ".jsonl" else [path.read_text("utf-8")]:
                json.loads(line)


SCRIPT = hostile_runs.TEXTS[0]
STRANGE: tuple[Any, ...] = (
    None, True, -1, 1e308, float("nan"), float("inf"), 10**400, SCRIPT, "x" * 100_000, hostile_runs.SURROGATE, [], [1],
    {"a": {"b": 1}}, {SCRIPT: 10**400}, [{"name": hostile_runs.TEXTS[7], "value": 10**400, "unit": SCRIPT}],
)  # fmt: skip
FIELDS = (
    "started_ns", "elapsed_s", "total_s", "phase", "step", "scheduled", "in_flight", "backlog", "sent", "ok", "failed",
    "censored", "errors", "rate_per_s", "p50_s", "p95_s", "doubts", "at_ns",
)  # fmt: skip


@pytest.mark.parametrize("strange", STRANGE, ids=range(len(STRANGE)))
def test_a_run_that_says_strange_things_of_itself_is_followed(whole: Path, tmp_path: Path, strange: object) -> None:
    path = tmp_path / whole.name
    path.mkdir()
    shutil.copy(whole / "run.json", path)
    first, usual = first_line(path.name, 1), {"phase": "measure", "elapsed_s": 1.0, "total_s": 2.0}
    said = [(first, dict.fromkeys(FIELDS, strange)), (first, {**usual, "errors": {SCRIPT: strange}})]
    for one, other in [*said, *(({**first, key: strange}, usual) for key in first)]:
        (path / FILE).write_text("".join(json.dumps(line) + "\n" for line in (one, other)))
        is_on(path)
        history(path)
        frame = json.dumps(told(Follower(RunFolder(path)).poll().frame), allow_nan=False)
        assert len(frame) < 100_000


DEEP = '{"a":' * 10_000 + "1" + "}" * 10_000
DAMAGES: dict[str, Callable[[Path], None]] = {
    "cut": cut,
    "empty": instead(lambda p: p.write_bytes(b"")),
    "missing": instead(lambda p: None),
    "folder": instead(lambda p: p.mkdir()),
    "pipe": instead(lambda p: os.mkfifo(p)),
    "elsewhere": instead(lambda p: p.symlink_to("/etc/passwd")),
    "itself": instead(lambda p: p.symlink_to(p)),
    "deep": instead(lambda p: p.write_text(DEEP)),
    "list": instead(lambda p: p.write_text("[]")),
    "null": instead(lambda p: p.write_text("null")),
    "number-keys": instead(
        lambda p: p.write_text('{"schema_version": 1, "run_id": 5, "plan": [], "verdict": {"a": NaN}}')
    ),
}
NO_FILE = ("missing", "folder", "pipe", "elsewhere", "itself")
OF_JSON = ("cut", "empty", "deep", "list", "null", "number-keys")
DAMAGED = [
    *((name, damage) for name in ("run.json", "summary.json") for damage in (*NO_FILE, *OF_JSON)),
    *(
        (name, damage)
        for name in ("tags.json", "clock.json")
        for damage in ("pipe", "elsewhere", "deep", "number-keys")
    ),
    *(("ledger.parquet", damage) for damage in ("cut", "empty", "missing", "folder", "pipe", "elsewhere")),
    *((name, damage) for name in ("samples.parquet", "spans.parquet") for damage in ("cut", "missing", "pipe")),
    *((name, "pipe") for name in ("model_calls.parquet", "vitals.parquet")),
    *((name, damage) for name in ("report.html", "live.jsonl") for damage in ("folder", "pipe", "elsewhere", "deep")),
]
"""A file of a run, and what became of it: each pair another way through the readers."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shown_runs.shared_runs(tmp_path_factory) / shown_runs.FAILED


@pytest.fixture(scope="module")
def damaged(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, httpx.Client]]:
    """A folder with one run, and a client of a dashboard over it."""
    folder = tmp_path_factory.mktemp("damaged")
    with dashboard(folder) as client:
        yield folder, client


@pytest.mark.parametrize(("name", "damage"), DAMAGED)
def test_a_damaged_run_is_told_in_words(
    whole: Path, damaged: tuple[Path, httpx.Client], name: str, damage: str
) -> None:
    folder, client = damaged
    shutil.rmtree(folder / whole.name, ignore_errors=True)
    shutil.copytree(whole, folder / whole.name)
    path = folder / whole.name / name
    if not path.exists():
        path.write_text("{}")
    DAMAGES[damage](path)
    if name == "live.jsonl":  # it is read of runs that have not ended
        (folder / whole.name / "summary.json").unlink()
    readable = name not in ("run.json", "summary.json")  # then a comparison would only begin, in a process of its own

    for address in addresses(whole.name):
        if readable and "compare" in address.partition("?")[0]:
            continue
        answer = client.get(address)
        assert answer.status_code < 500, (address, answer.text[:600])
        assert "root:" not in answer.text, address
        if answer.status_code >= 400 and "json" in answer.headers.get("content-type", ""):
            assert answer.json()["error"]


@pytest.mark.parametrize("name", ["run.json", "samples.parquet", "spans.parquet"])
@pytest.mark.parametrize("damage", ["cut", "pipe", "elsewhere", "deep"])
def test_a_damaged_run_is_reported_in_words_too(whole: Path, tmp_path: Path, name: str, damage: str) -> None:
    shutil.copytree(whole, tmp_path / whole.name)
    DAMAGES[damage](tmp_path / whole.name / name)

    ended = CliRunner().invoke(report, [str(tmp_path / whole.name), "--format", "html"])

    assert ended.exit_code != 0
    assert getattr(ended.exception, "hint", None)
