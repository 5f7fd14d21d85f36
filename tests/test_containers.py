"""The container files, read as text: what a daemon would only say at build time, and what it would never say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
DOCKERFILES = [ROOT / "sample_service" / "Dockerfile", ROOT / "deploy" / "harness.Dockerfile"]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
COLLECTOR = yaml.safe_load((ROOT / "deploy" / "otel-collector.yaml").read_text())

each_dockerfile = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda p: p.name)


def instructions(path: Path) -> list[tuple[str, str]]:
    """(instruction, argument) in file order, continued lines joined, comments dropped."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [
        (word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)
    ]


def arguments(path: Path, instruction: str) -> list[str]:
    return [argument for word, argument in instructions(path) if word == instruction]


def is_pinned(image: str) -> bool:
    """A tag that does not move by name: present, and neither `latest` nor a bare major version."""
    tag = image.rpartition("/")[2].partition(":")[2]
    return bool(tag) and tag != "latest" and not tag.isdigit()


@pytest.mark.parametrize("image", ["python", "python:latest", "redis:7", "registry:5000/python"])
def test_an_image_without_a_firm_tag_does_not_count_as_pinned(image: str) -> None:
    assert not is_pinned(image)


@each_dockerfile
def test_the_base_image_is_pinned_to_a_patch_version(path: Path) -> None:
    bases = {argument.split()[0] for argument in arguments(path, "FROM")}

    assert bases == {"python:3.11.14-slim-bookworm"}


@each_dockerfile
def test_the_container_does_not_run_as_root(path: Path) -> None:
    users = arguments(path, "USER")

    assert users
    assert users[-1] not in {"root", "0", "0:0"}


@each_dockerfile
def test_the_process_is_started_without_a_shell_so_that_it_gets_the_stop_signal(path: Path) -> None:
    started = [json.loads(argument) for argument in arguments(path, "CMD") + arguments(path, "ENTRYPOINT")]

    assert all(isinstance(words, list) for words in started)
    assert arguments(path, "CMD")


@each_dockerfile
def test_the_classic_builder_understands_every_line(path: Path) -> None:
    text = path.read_text()

    assert not re.search(r"^(RUN|COPY|ADD)\s+--(mount|network|security|link|chmod|parents|exclude)", text, re.MULTILINE)
    assert not re.search(r"<<-?['\"]?[A-Z]", text)
    assert not re.search(r"^#\s*syntax=", text)


@each_dockerfile
def test_nothing_is_downloaded_but_pinned_packages(path: Path) -> None:
    assert not arguments(path, "ADD")
    installs = [run for run in arguments(path, "RUN") if "pip install" in run]
    assert installs
    assert all("-c constraints.txt" in run or "--no-deps" in run for run in installs)


@each_dockerfile
def test_the_packages_are_installed_before_the_source_is_copied(path: Path) -> None:
    last_stage = path.read_text().rpartition("\nFROM ")[2]

    assert last_stage.index("-r requirements.txt") < last_stage.index("COPY --from=wheel")


@each_dockerfile
def test_every_copied_path_is_let_through_by_dockerignore(path: Path) -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [argument.split()[:-1] for argument in arguments(path, "COPY") if not argument.startswith("--from")]

    assert {source for sources in copied for source in sources} <= kept


def test_dockerignore_starts_from_nothing() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]

    assert lines[0] == "*"


def test_the_service_image_asks_its_own_readiness_without_curl() -> None:
    (check,) = arguments(DOCKERFILES[0], "HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])

    assert command[0] == "python"
    assert "/readyz" in command[-1]
    assert SERVICES["service"]["healthcheck"]["test"] == ["CMD", *command]
    compile(command[-1], "healthcheck", "exec")


def test_the_service_image_reports_nothing_to_the_maker_of_its_runtime() -> None:
    (settings,) = arguments(DOCKERFILES[0], "ENV")

    assert "ORT_DISABLE_TELEMETRY=1" in settings.split()


def test_the_service_image_is_refused_when_it_holds_a_load_generator() -> None:
    assert any(
        all(tool in run for tool in ("locust", "gevent", "pandas", "assert"))
        for run in arguments(DOCKERFILES[0], "RUN")
    )


def test_the_compose_file_holds_the_four_services() -> None:
    assert set(SERVICES) == {"service", "otel-collector", "jaeger", "harness"}
    assert not {"version", "name"} & set(COMPOSE)


@pytest.mark.parametrize("name", list(SERVICES))
def test_every_image_is_pinned(name: str) -> None:
    assert is_pinned(SERVICES[name]["image"])


@pytest.mark.parametrize("name", list(SERVICES))
def test_published_ports_are_reachable_from_this_machine_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@pytest.mark.parametrize("name", ["service", "otel-collector", "jaeger"])
def test_what_runs_all_the_time_has_a_memory_limit(name: str) -> None:
    limits = SERVICES[name]["deploy"]["resources"]["limits"]

    assert limits["memory"]
    assert 0 < float(limits["cpus"]) <= 2


def test_load_is_only_made_on_request() -> None:
    assert {name: service.get("profiles") for name, service in SERVICES.items() if "profiles" in service} == {
        "harness": ["load"]
    }
    assert SERVICES["harness"]["depends_on"] == {"service": {"condition": "service_healthy"}}


@pytest.mark.parametrize("name", ["service", "harness"])
def test_compose_builds_from_files_that_exist(name: str) -> None:
    assert (ROOT / SERVICES[name]["build"]["dockerfile"]).is_file()


def test_the_mounted_and_named_files_exist() -> None:
    (mount,) = SERVICES["otel-collector"]["volumes"]
    scenario = SERVICES["harness"]["command"][1]

    assert (ROOT / mount.partition(":")[0]).is_file()
    assert (ROOT / scenario).is_file()
    assert SERVICES["harness"]["command"] == json.loads(arguments(DOCKERFILES[1], "CMD")[0])


@pytest.mark.parametrize("kind", ["receivers", "processors", "exporters"])
def test_collector_pipelines_name_only_defined_components(kind: str) -> None:
    for pipeline in COLLECTOR["service"]["pipelines"].values():
        assert pipeline[kind]
        assert set(pipeline[kind]) <= set(COLLECTOR[kind])


def test_the_service_sends_its_spans_where_the_collector_listens() -> None:
    protocols = COLLECTOR["receivers"]["otlp"]["protocols"]

    assert SERVICES["service"]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://otel-collector:4318"
    assert {key: value["endpoint"] for key, value in protocols.items()} == {
        "http": "0.0.0.0:4318",
        "grpc": "0.0.0.0:4317",
    }


def test_an_absent_harness_is_given_up_soon() -> None:
    exporter = COLLECTOR["exporters"]["otlp_http/harness"]

    assert exporter["endpoint"] == "http://harness:4318"
    assert exporter["sending_queue"]["queue_size"] <= 100
    assert exporter["retry_on_failure"]["max_elapsed_time"] == "3s"


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose is not installed")
@pytest.mark.parametrize("options", [[], ["--profile", "load"]], ids=["default", "load"])
def test_docker_compose_accepts_the_file(options: list[str]) -> None:
    checked = subprocess.run(["docker-compose", *options, "config", "-q"], cwd=ROOT, capture_output=True, text=True)

    assert (checked.returncode, checked.stderr) == (0, "")
