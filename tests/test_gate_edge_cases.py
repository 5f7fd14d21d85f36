"""SLOs at their edges through the command line: each has its answer, its words and its exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli import main
from harness.model import RequestSpec
from harness.run_folder import RunFolder
from tests.stored_runs import a_scenario, some_samples, store

RECEIPT = "reçu 🧾 'neu'"
Harness = Callable[..., tuple[int, str, str]]


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Harness:
    """The command line in this process: (exit code, stdout, stderr)."""
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)

    def called(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["harness", *map(str, arguments)])
        with monkeypatch.context() as streams:
            streams.setattr(sys, "stdout", sys.stdout)
            streams.setattr(sys, "stderr", sys.stderr)
            with pytest.raises(SystemExit) as ended:
                main()
        return int(ended.value.code or 0), *capfd.readouterr()

    return called


# --- runs at the edge ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunFolder]:
    """Of 20 requests a second that take 50 to 99 ms, each duration equally often; none has an SLO of its own."""
    folder, usual = tmp_path_factory.mktemp("runs"), some_samples()
    named = RequestSpec(RECEIPT, "POST", "/v1/read")
    samples = {
        "empty": [], "58": usual[:58], "59": usual[:59], "200": usual, "1 failed": some_samples(failed=1),
        "all failed": some_samples(failed=200), "unicode": [replace(each, name=RECEIPT) for each in usual],
    }  # fmt: skip
    scenarios = {"unicode": a_scenario(slo=(), requests=(named,))}
    return {name: store(folder / name, rows, scenarios.get(name, a_scenario(slo=()))) for name, rows in samples.items()}


ANSWERS = [
    ("empty", "p95(latency) < 1s", 3, "not_enough_data", "no request counts here"),
    ("empty", "count(ok) < 5", 3, "not_enough_data", "no request counts here"),
    ("empty", "error_rate <= 0%", 3, "not_enough_data", "no request counts here"),
    ("empty", "throughput > 1/s", 3, "not_enough_data", "no request counts here"),
    ("empty", "coverage > 1%", 3, "invalid", "no server half was asked for"),
    ("empty", "peak(rss) < 2GiB", 3, "invalid", "the service sent no vitals"),
    ("58", "p95(latency) < 1s", 3, "not_enough_data", "deciding takes about 1 more request,"),  # 0.95 ** 59 <= 0.05
    ("59", "p95(latency) < 1s", 0, "passed", "0 of 59 requests are beyond 1.00 s"),
    ("59", "p99(latency) < 1s", 3, "not_enough_data", "deciding takes about 240 more requests"),  # of 299
    ("59", "p99.99(latency) < 1s", 3, "not_enough_data", "more requests"),
    ("all failed", "p95(latency) < 1s", 1, "failed", "200 of them because they failed"),
    ("all failed", "mean(latency) < 1s", 1, "failed", "a mean would hide them"),
    ("all failed", "max(latency) <= 1h", 1, "failed", "200 of them because they failed"),
    ("all failed", "error_rate < 100%", 1, "failed", "200 of 200 requests failed"),
    ("all failed", "count(ok) < 5", 3, "not_enough_data", "0 of 200 requests"),
    ("all failed", "completed >= 100%", 3, "not_enough_data", "0 of 200 requests got no answer"),
    ("200", "max(latency) < 99ms", 1, "failed", "4 of 200 requests are beyond 99.0 ms"),
    ("200", "max(latency) <= 99ms", 0, "passed", "0 of 200 requests are beyond 99.0 ms"),
    ("200", "max(latency) ≤ 0.099s", 0, "passed", "0 of 200 requests are beyond 99.0 ms"),
    ("200", "p50(latency) <= 74ms", 3, "not_enough_data", "100 of 200 requests are beyond 74.0 ms"),
    ("200", "count(ok) > 200", 1, "failed", "200 of 200 requests"),
    ("200", "count(ok) >= 200", 0, "passed", "200 of 200 requests"),
    ("200", "throughput > 20/s", 1, "failed", "200 of 200 requests in 10.0 s"),
    ("200", "throughput >= 20/s", 0, "passed", "200 of 200 requests in 10.0 s"),
    ("200", "throughput >= 21/s", 3, "invalid", "no more than 20/s were offered"),
    ("200", "error_rate <= 0%", 0, "passed", "0 of 200 requests failed"),
    ("1 failed", "error_rate <= 0%", 1, "failed", "1 of 200 requests failed"),
    ("1 failed", "share(ok) >= 100%", 1, "failed", "1 of 200 requests failed"),
    ("200", "p95(inference) < 1s", 3, "invalid", "no server half was asked for"),
    ("200", "p95(inference, model=det) < 1s", 3, "invalid", "no call of a model was recorded"),
    ("unicode", "p95(latency, name='reçu 🧾 ''neu''') < 1s", 0, "passed", "0 of 200 requests"),
    ("200", "\u3000p95(latency)\u2003<\u00a01s\t", 0, "passed", "0 of 200 requests"),  # blanks of other scripts
    ("200", " and ".join(["p95(latency) < 1s"] * 80), 0, "passed", "0 of 200 requests"),
]


@pytest.mark.parametrize(("run", "slo", "code", "verdict", "said"), ANSWERS)
def test_a_run_at_the_edge_has_its_verdict_its_words_and_its_exit_code(
    runs: dict[str, RunFolder], harness: Harness, run: str, slo: str, code: int, verdict: str, said: str
) -> None:
    ended, stdout, stderr = harness("gate", runs[run].path, "--slo", slo, "--json")
    found = json.loads(stdout)

    assert (ended, found["verdict"], stderr) == (code, verdict, "")
    (judged,) = found["slo"]
    assert said in judged["reason"]
    assert "nan" not in stdout.lower()


# --- expressions at the edge -----------------------------------------------------------------------------------

REFUSED = [
    ("p95(latncy) < 1s", "did you mean 'latency'?"),
    ("p95(latency, name=rea) < 1s", "did you mean 'read'?"),
    ("p95(latency, step=1) < 1s", "there is no step 1"),
    ("p95(latency, fase=warmup) < 1s", "did you mean 'phase'?"),
    ("eror_rate < 1%", "did you mean 'error_rate'?"),
    ("p95(latency) < 20%", "20%"),
    ("p95(latency) < 20", "20"),
    ("error_rate < 20ms", "20ms"),
    ("throughput > 20", "20"),
    ("count(ok) > 5s", "a whole number without a unit"),
    ("peak(rss) < 2s", "2s"),
    ("p95(latency) > 1s", "needs an upper limit"),
    ("p95(latency) < \uff11s", "\uff11s"),  # a full-width digit is no digit here
    ("p\u0669\u0665(latency) < 1s", "SLO"),  # nor is an Arabic one
    ("p95(latency) < 1s\u202e", "U+202E"),
    ("p95(latency, name=\U0001f9fe) < 1s", "no request is named"),
    ("", "hint: "),
    ("p95(latency) < 1s and ", "an SLO is missing behind and"),
    ("é" * 10_000, "10,000 characters is too long"),
    ("(" * 10_000, "10,000 characters is too long"),
    (" and ".join(["p95(latency) < 1s"] * 500), "characters is too long"),
    ("p95(latency, name='" + "a" * 9_970 + "') < 1s", "characters is too long"),
]


@pytest.mark.parametrize(("slo", "said"), REFUSED, ids=lambda text: text[:30])
def test_an_expression_that_says_nothing_is_refused_by_gate_run_and_check_alike(
    runs: dict[str, RunFolder], harness: Harness, tmp_path: Path, slo: str, said: str
) -> None:
    """Nothing listens at the target: a run that began would end with exit code 3."""
    scenario = {
        "scenario": "read", "target": "http://127.0.0.1:9", "spans": {"source": "none"},
        "requests": [{"name": "read", "http": "POST /v1/read"}], "load": {"rate": "20/s", "duration": "1s"},
    }  # fmt: skip
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(json.dumps(scenario))  # JSON is YAML, but for characters that it writes as two
    bad.write_text(json.dumps(scenario | {"slo": [slo]}, ensure_ascii=False), encoding="utf-8")

    called = [
        ("gate", runs["200"].path, "--slo", slo), ("run", good, "--slo", slo, "--out", tmp_path),
        ("run", bad, "--out", tmp_path), ("check", bad),
    ]  # fmt: skip
    for arguments in called:
        code, stdout, stderr = harness(*arguments)
        assert (code, stdout) == (2, "")
        assert said in stderr
        assert stderr.startswith("error: ")
        assert len(stderr) < 1_000
    assert not list(tmp_path.glob("*-read"))
