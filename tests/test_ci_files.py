"""The ready files for build servers: their shell lines are taken out and executed in a small repository."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from junitparser import JUnitXml

CI = Path(__file__).parent.parent / "deploy" / "ci"
FILES = ("github-actions.yml", "gitlab-ci.yml", "release.mk")

SERVICE = """
import http.server, sys, time

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = open("version.txt", "rb").read()
        time.sleep(0.04 * (body == b"slow"))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *about):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""
SCENARIO = """
scenario: page
target: ${TARGET:-http://127.0.0.1:8000}
requests:
  - {name: page, http: GET /, timeout: 5s}
load: {arrivals: poisson, rate: 60/s, warmup: 0s, duration: 2s, seed: 1}
spans: {source: none}
slo: [p50(latency) < 4s, error_rate < 50%]
"""
# In place of the harness: checks its own flags, notes what it was asked and by whom, and answers as told.
STAND_IN = """
import json, os, sys
from pathlib import Path
from harness.cli import cli

name, *arguments = sys.argv[1:]
flags = cli.commands[name].make_context(name, list(arguments)).params
folders = [flags[name] for name in (("a_dir", "b_dir") if name == "ab" else ("folder",))]
noted = {"command": name, "arguments": arguments, "code": [(Path(f) / "version.txt").read_text() for f in folders]}
for wanted in ("junit", "markdown"):
    flags[wanted].parent.mkdir(parents=True, exist_ok=True)
    flags[wanted].write_text(name)
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps(noted) + "\\n")
sys.exit(int(os.environ.get(f"EXIT_{name}", "0")))
"""


@dataclass(frozen=True)
class Place:
    """A repository with two commits, and the environment in which a build server would run its lines."""

    repository: Path
    base: str
    env: dict[str, str]

    @property
    def calls(self) -> list[dict[str, Any]]:
        path = Path(self.env["CALLS"])
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def git(repository: Path, *arguments: str) -> str:
    name = ("-c", "user.name=tester", "-c", "user.email=tester@localhost")
    done = subprocess.run(["git", *name, *arguments], cwd=repository, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    repository, bin_folder = tmp_path / "repository", tmp_path / "bin"
    repository.mkdir()
    bin_folder.mkdir()
    git(repository, "init", "--quiet", "-b", "main")
    (repository / "service.py").write_text(SERVICE)
    (repository / "broken.py").write_text("raise SystemExit('no such model')")
    (repository / "page.yaml").write_text(SCENARIO)
    (repository / "version.txt").write_text("old")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "old")
    (repository / "version.txt").write_text("new")
    git(repository, "commit", "--quiet", "-am", "new")
    stand_in = bin_folder / "harness"
    stand_in.write_text(f"#!{sys.executable}\n{STAND_IN}")
    stand_in.chmod(0o755)
    base = git(repository, "rev-parse", "HEAD^")
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "MAKE", "CI"))},
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
        "SCENARIO": "page.yaml", "SERVE": f"{sys.executable} service.py {{port}}", "READY": "/ready",
        "LOAD_SECONDS": "2", "WARMUP_SECONDS": "0", "PAIRS": "3", "ALLOWED": "10%",
        "BASE": base, "BASE_DIR": str(tmp_path / "base"), "CI_MERGE_REQUEST_DIFF_BASE_SHA": base,
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }  # fmt: skip
    return Place(repository, base, env)


def github_steps() -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = yaml.safe_load((CI / FILES[0]).read_text())["jobs"]["load-gate"]["steps"]
    return steps


def gitlab_job() -> dict[str, Any]:
    job: dict[str, Any] = yaml.safe_load((CI / FILES[1]).read_text())["load-gate"]
    return job


def commands(file: str, base: str) -> list[list[str]]:
    """What the build server starts, one after the other, but for the installation."""
    bash = ["bash", "-euo", "pipefail", "-c"]
    if file == "github-actions.yml":
        return [[*bash, step["run"]] for step in github_steps() if "run" in step and step["name"] != "install"]
    if file == "gitlab-ci.yml":
        return [[*bash, "\n".join(gitlab_job()["script"])]]
    return [["make", "-f", str(CI / file), "load-gate", f"BASELINE={base}"]]


REAL = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
"""As PATH: the harness itself, not its stand-in."""


def carried_out(file: str, place: Place, **changes: str) -> list[subprocess.CompletedProcess[str]]:
    """Each command, also after one that failed: as `if: !cancelled()` asks."""
    return [
        subprocess.run(command, cwd=place.repository, env={**place.env, **changes}, capture_output=True, text=True,
                       timeout=300, check=False)
        for command in commands(file, place.base)
    ]  # fmt: skip


# --- executed --------------------------------------------------------------------------------------------------


def test_the_old_code_is_compared_with_the_new_and_the_new_is_judged_by_all_with_the_same_flags(place: Place) -> None:
    asked = []
    for file in FILES:
        done = carried_out(file, place)

        assert [each.returncode for each in done] == [0] * len(done), [each.stderr for each in done]
        calls = place.calls
        assert [(call["command"], call["code"]) for call in calls] == [("ab", ["old", "new"]), ("run", ["new"])]
        written = sorted(path.name for path in (place.repository / "load").glob("*.*"))
        assert written == ["ab.md", "ab.xml", "slo.md", "slo.xml"]
        asked.append([a for call in calls for a in call["arguments"] if not a.endswith(("/base", "-base", "/tree"))])
        Path(place.env["CALLS"]).unlink()
        shutil.rmtree(place.repository / "load")
    assert asked[0] == asked[1] == asked[2]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("failing", ["EXIT_ab", "EXIT_run"])
def test_either_part_fails_the_job_and_both_are_carried_out(file: str, failing: str, place: Place) -> None:
    done = carried_out(file, place, **{failing: "3"})

    assert any(each.returncode for each in done)
    assert [call["command"] for call in place.calls] == ["ab", "run"]


def test_a_release_without_a_baseline_is_refused(place: Place) -> None:
    done = subprocess.run(["make", "-f", str(CI / "release.mk"), "load-gate-compare"], cwd=place.repository,
                          env=place.env, capture_output=True, text=True, check=False)  # fmt: skip

    assert done.returncode == 2
    assert "make load-gate BASELINE=v1.2.0" in done.stderr


def test_a_baseline_that_is_no_commit_leaves_nothing_behind(place: Place) -> None:
    done = subprocess.run(["make", "-f", str(CI / "release.mk"), "load-gate-compare", "BASELINE=v9"],
                          cwd=place.repository, env=place.env, capture_output=True, text=True, check=False)  # fmt: skip

    assert done.returncode == 2
    assert git(place.repository, "worktree", "list").count("\n") == 0
    assert place.calls == []


def test_a_real_judgement_leaves_what_the_build_server_shows(place: Place) -> None:
    judge = commands("github-actions.yml", place.base)[-1]
    env = {**place.env, "PATH": REAL, "GITHUB_ACTIONS": "true", "LOAD_SECONDS": "0.5"}
    done = subprocess.run(judge, cwd=place.repository, env=env, capture_output=True, text=True, check=False)

    load, summary = place.repository / "load", Path(place.env["GITHUB_STEP_SUMMARY"]).read_text()
    document = JUnitXml.fromfile(str(load / "slo.xml"))
    document.update_statistics()
    assert done.returncode in {0, 3}, done.stderr  # a busy machine may spoil the measurement
    assert (document.failures, document.errors > 0) == (0, done.returncode == 3)
    assert (load / "slo.md").read_text() == summary.removesuffix("\n")
    assert "title=page%3A " in done.stderr
    assert len(list(load.glob("runs/*-page/report.html"))) == 1


def test_a_service_that_does_not_start_fails_both_parts_with_its_last_words(place: Place) -> None:
    broken = f"{sys.executable} broken.py {{port}}"
    compared, judged = carried_out("github-actions.yml", place, PATH=REAL, GITHUB_ACTIONS="true", SERVE=broken)

    assert (compared.returncode, judged.returncode) == (2, 2), compared.stderr
    for name, done in (("ab", compared), ("slo", judged)):
        assert "no such model" in (place.repository / "load" / f"{name}.xml").read_text()
        assert "::error title=" in done.stderr
    assert Path(place.env["GITHUB_STEP_SUMMARY"]).read_text().count("not measured") == 2


# --- read ------------------------------------------------------------------------------------------------------


def test_what_a_build_server_fills_in_stays_out_of_the_shell_lines() -> None:
    for step in github_steps():
        assert "${{" not in step.get("run", ""), "a branch name would be executed"


def test_no_file_names_a_host() -> None:
    for file in FILES:
        assert "://" not in (CI / file).read_text(), file


def test_the_artifacts_are_kept_also_of_a_job_that_failed() -> None:
    upload = next(step for step in github_steps() if step.get("uses", "").startswith("actions/upload-artifact"))

    assert (upload["if"], upload["with"]["path"]) == ("always()", "load")
    assert gitlab_job()["artifacts"]["when"] == "always"
    assert gitlab_job()["artifacts"]["reports"] == {"junit": "load/*.xml"}


def test_only_the_installation_is_left_out_of_what_is_executed() -> None:
    pip = 'python -m pip install "ml-harness[run]" -r requirements.txt'

    assert [step["run"] for step in github_steps() if step.get("name") == "install"] == [pip]
    assert gitlab_job()["before_script"] == [pip]


def test_the_settings_are_the_same_everywhere() -> None:
    github = yaml.safe_load((CI / FILES[0]).read_text())["env"]
    gitlab = {name: value for name, value in gitlab_job()["variables"].items() if name != "GIT_DEPTH"}
    make = dict(re.findall(r"^(\w+) \?= (.*)$", (CI / FILES[2]).read_text(), re.MULTILINE))

    assert github == gitlab == {name: value for name, value in make.items() if name not in {"LOAD_DIR", "HARNESS"}}
