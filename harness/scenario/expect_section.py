"""The `expect:` of a request: what a good answer looks like."""

from __future__ import annotations

from pathlib import Path

import jmespath

from harness.errors import ScenarioError, UsageError
from harness.model import Expect
from harness.scenario.document import Entry, Node
from harness.scenario.functions import function_named
from harness.scenario.values import entries_of, fields_of, json_of, one_or_more, parsed, whole_of
from harness.scenario.wanted import wanted_test
from harness.units import parse_bytes, parse_share, quoted

_KEYS = ("status", "json", "max_bytes", "python", "sample")


def read_expect(node: Node, what: str, folder: Path) -> Expect:
    """The checks. Raises ScenarioError, also for a path, a pattern, a range or a function that cannot be used."""
    fields = fields_of(node, what, _KEYS)
    statuses: tuple[int, ...] = ()
    if "status" in fields:
        items = one_or_more(fields["status"].node, f"status in {what}")
        statuses = tuple(whole_of(item, f"status in {what}", 100, 599, "200") for item in items)
    checks = entries_of(fields["json"].node, f"json in {what}") if "json" in fields else ()
    max_bytes = python = None
    if "max_bytes" in fields:
        max_bytes = parsed(fields["max_bytes"].node, f"max_bytes in {what}", parse_bytes)
    if "python" in fields:
        python = function_named(fields["python"].node, f"python in {what}", folder, "answer")
    sampled = _sampled(fields["sample"], f"sample in {what}") if "sample" in fields else 1.0
    if sampled < 1.0 and not checks and python is None:
        hint = "leave it out: the status and the size are checked of all answers"
        raise ScenarioError(f"sample in {what} has no json or python check to sample", hint, fields["sample"].where)
    jsons = tuple(_json_check(check, f"json in {what}") for check in checks)
    return Expect(statuses, jsons, max_bytes, python, sampled)


def _sampled(entry: Entry, what: str) -> float:
    share = parsed(entry.node, what, parse_share)
    if share <= 0:
        raise ScenarioError(f"{what} must be above 0%", "leave the checks out instead", entry.where)
    return share


def _json_check(check: Entry, what: str) -> tuple[str, object]:
    try:
        jmespath.compile(check.key)
    except (ValueError, RecursionError) as error:
        reason = (str(error).splitlines() or [""])[0].rstrip(": ")
        problem = reason if reason.isprintable() and reason else "it cannot be parsed"
        hint = "write a path such as lines[0].text (JMESPath)"
        raise ScenarioError(f"{what}: {quoted(check.key)} is not a path: {problem}", hint, check.where) from None
    wanted = json_of(check.node, what)
    try:
        wanted_test(wanted)
    except UsageError as error:
        raise ScenarioError(f"{what}: {error.message}", error.hint, check.where) from None
    return check.key, wanted
