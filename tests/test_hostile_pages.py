"""Pages, APIs, reports and exports of runs whose every text is hostile, and of folders that were damaged."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from harness.commands.report import command as report
from harness.dashboard.pages import capacity, compare, explorer, live, request, run, runs
from tests import hostile_runs, shown_runs
from tests.browser_support import Opener, too_wide
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
    filled = {"{run_id}": run_id, "{request_id}": "10", "{wanted}": "perfetto", "{key}": "latency", "{path}": "x"}
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


@each_run
def test_a_report_holds_hostile_text_as_text(folder: Path, open_page: Opener, run_id: str) -> None:
    path = folder / run_id / "report.html"
    page = open_page(path)
    seen = page.evaluate(LOOK)

    assert path.stat().st_size < LARGEST
    assert (seen["scripts"], seen["handlers"], seen["framed"]) == ([], 0, 0)
    assert too_wide(page) == []
    if run_id == hostile_runs.SHORT_RUN:
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
FILES = ("run.json", "summary.json", "ledger.parquet", "samples.parquet", "spans.parquet", "tags.json", "report.html")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shown_runs.shared_runs(tmp_path_factory) / shown_runs.FAILED


@pytest.fixture(scope="module")
def damaged(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, httpx.Client]]:
    """A folder with one run, and a client of a dashboard over it."""
    folder = tmp_path_factory.mktemp("damaged")
    with dashboard(folder) as client:
        yield folder, client


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGES)
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

    for address in addresses(whole.name):
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
