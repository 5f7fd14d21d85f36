"""The pytest plugin: `def test_latency(harness_run): assert harness_run("flow.yaml").p95("latency") < 0.2`.

It is loaded wherever the package is installed, so it imports nothing heavy until a test asks for `harness_run`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.pytest_plugin.figure import Figure

if TYPE_CHECKING:
    from harness.pytest_plugin.runs import HarnessRun

CURRENT = pytest.StashKey[pytest.Item]()
PROPERTY = "harness_run"
"""The user property of a test's report that names a run it stood on, in one line."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("harness", "load tests of an API (ml-harness)")
    group.addoption("--harness-out", metavar="DIR", help="Keep the run folders below DIR, not among temporary files.")
    group.addoption("--harness-skip", action="store_true", help="Skip load tests.")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "harness: a load test; every test that uses `harness_run` is one")


@pytest.hookimpl(tryfirst=True)  # before -m is looked at
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if "harness_run" in getattr(item, "fixturenames", ()) and item.get_closest_marker("harness") is None:
            item.add_marker("harness")
        if config.getoption("harness_skip") and item.get_closest_marker("harness") is not None:
            item.add_marker(pytest.mark.skip(reason="a load test, and --harness-skip was given"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """Remember whose report a run belongs to: the fixture itself lives for the whole session."""
    item.config.stash[CURRENT] = item


@pytest.fixture(scope="session")
def harness_run(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> HarnessRun:
    """Run a scenario against an API: `harness_run("scenarios/read-receipts.yaml", target=..., rate=...)`.

    Equal calls share one run. `service="serve --port {port}"` starts the API for it. What comes back is asserted on:

        run = harness_run("scenarios/read-receipts.yaml", rate=20, duration="30s")
        assert run                                   # the SLOs of the scenario
        assert run.p95("latency") < 0.2              # seconds, or "200ms"
        assert run.p95("inference", name="receipt") < "150ms"
        assert run.error_rate < 0.01
        run.assert_slo("p99(latency) < 1s and throughput > 18/s")

    Each is judged as an SLO is: what the requests of the run cannot decide fails the test, either way it is asked.
    """
    try:
        from harness.pytest_plugin.runs import HarnessRun
    except ModuleNotFoundError as error:
        pytest.fail(f"load tests need {error.name}: pip install 'ml-harness[run]'", pytrace=False)
    base = tmp_path_factory.getbasetemp()
    parallel = hasattr(pytestconfig, "workerinput")  # a process of xdist, whose folder stands beside the others'
    return HarnessRun(pytestconfig, base.parent if parallel else base, parallel=parallel)


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Why a comparison of a figure does not hold."""
    if isinstance(left, Figure):
        return left.explained(op, right)
    if isinstance(right, Figure):
        return right.explained({"<": ">", ">": "<", "<=": ">=", ">=": "<="}.get(op, op), left)
    return None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines: dict[str, None] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == PROPERTY:
                    lines[str(value)] = None
    if lines:
        terminalreporter.section("load runs")
        for line in lines:
            terminalreporter.write_line(line)
