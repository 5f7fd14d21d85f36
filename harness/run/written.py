"""What run.json says of a run: at its start, and when its load and its spans are in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime

from pydantic import TypeAdapter

from harness.environment import fingerprint
from harness.instrument.host import host_key
from harness.load.drive import Loaded
from harness.model import BodySpec, Expect, RequestSpec, RunWarning, Scenario
from harness.run_folder import SCHEMA_VERSION, RunFolder
from harness.scenario.target import host_of, is_loopback
from harness.spans import arrive, fetch
from harness.spans.arrive import Awaited
from harness.spans.fetch import Fetched
from harness.spans.listen import ReceiverStatus
from harness.units import format_share


def first_record(scenario: Scenario, folder: RunFolder, started: datetime, odd: list[RunWarning]) -> dict[str, object]:
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": folder.path.name,
        "status": "running",
        "started_ns": int(started.timestamp() * 1e9),
        "host": host_key(),
        "loopback": is_loopback(host_of(scenario.target)),
        "plan": planned(scenario),
        "source": scenario.source,
        "environment": dict(fingerprint()),
        "warnings": [asdict(warning) for warning in (*_sampled_checks(scenario), *odd)],
    }


def last_record(
    record: Mapping[str, object],
    loaded: Loaded,
    received: ReceiverStatus | None,
    awaited: Awaited | None,
    fetched: Fetched | None,
    moved: list[RunWarning],
) -> dict[str, object]:
    known = record["warnings"]
    assert isinstance(known, list)  # noqa: S101 - made by first_record
    warnings = [*loaded.warnings, *moved, *arrive.warnings_of(received, awaited)]
    warnings += fetch.warnings_of(fetched, arrive.DEADLINE)
    if loaded.failed is not None:
        hint = loaded.failed.hint or "what was measured until then is kept; see the load log in the run folder"
        warnings.append(RunWarning(loaded.code, loaded.failed.message, hint, invalidates=True))
    return {
        **record,
        "status": "interrupted" if loaded.interrupted else "finished" if loaded.end else "broken",
        "load": {k: v for k, v in loaded.end.items() if k != "kind"},
        "receiver": asdict(received) if received is not None else None,
        "awaited": asdict(awaited) if awaited is not None else None,
        "fetched": asdict(fetched) if fetched is not None else None,
        "warnings": [*known, *(asdict(warning) for warning in warnings)],
    }


def _sampled_checks(scenario: Scenario) -> list[RunWarning]:
    """What is only looked at in part must be said: the error rate does not know the rest."""
    return [
        RunWarning(
            "sampled_checks",
            f"the bodies of {format_share(request.expect.sampled)} of the answers to {request.name} are checked, the "
            "others by their status alone: more may be wrong than the error rate shows",
            "raise `sample` in its expect, if the generator has the CPU",
        )
        for request in scenario.requests
        if request.expect.sampled < 1
    ]


def planned(scenario: Scenario) -> dict[str, object]:
    """The scenario as far as it may be stored: no headers, parameters or bodies, which may hold secrets."""
    kept = replace(scenario, requests=tuple(_bare(r) for r in scenario.requests), source="", path=None)
    dumped = TypeAdapter(Scenario).dump_python(kept, mode="json")
    assert isinstance(dumped, dict)  # noqa: S101 - a dataclass dumps to an object
    return dumped


def _bare(request: RequestSpec) -> RequestSpec:
    return replace(request, params=(), headers=(), body=BodySpec(), expect=Expect(sampled=request.expect.sampled))


def stored_scenario(plan: object) -> Scenario:
    return TypeAdapter(Scenario).validate_python(plan)
