"""`harness init`."""

from __future__ import annotations

import glob
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.errors import HarnessError, UsageError, nearest

if TYPE_CHECKING:
    from harness.draft import Draft, Drafted, Given

_EPILOG = """\
\b
Examples:
  harness init http://127.0.0.1:8000                          from the /openapi.json it serves
  harness init http://127.0.0.1:8000 --file 'image=receipts/*.jpg'
  harness init openapi.json -o smoke.yaml
  harness init http://127.0.0.1:8000 --request "POST /v1/embed" --json '{"text": "hello"}'
"""


@click.command("init", epilog=_EPILOG)
@click.argument("url")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("scenario.yaml"), show_default=True)
@click.option("--force", is_flag=True, help="Write over an existing file.")
@click.option("--timeout", default="10s", show_default=True, metavar="D", help="How long the service may take.")
@click.option("-f", "--file", "files", multiple=True, metavar="FIELD=PATH", help="What to send in a file field.")
@click.option("--body", metavar="PATH", help="What to send where the body is a file; a path or a glob.")
@click.option("--request", "http", metavar="'POST /path'", help="Instead of asking the service: one request.")
@click.option("--json", "json_text", metavar="JSON", help="Body of that request.")
def command(
    url: str, output: Path, force: bool, timeout: str, files: tuple[str, ...], body: str | None, http: str | None,
    json_text: str | None,
) -> None:  # fmt: skip
    """Write a first scenario for the API at URL, from its openapi.json or from one example request."""
    from harness.draft import Given

    _refuse_to_overwrite(output, force)
    given = Given(_fields(files, output), _path(body, "--body", output) if body is not None else None)
    if http is None and json_text is not None:
        raise UsageError("--json is the body of a request", "say which: --request 'POST /v1/read'")
    draft = (
        _from_api(url, timeout, given, output) if http is None else _from_request(url, http, json_text, given, output)
    )
    try:
        with output.open("w" if force else "x", encoding="utf-8") as file:
            file.write(draft.text)
    except OSError as error:
        raise UsageError(f"cannot write {output}: {(error.strerror or str(error)).lower()}", "choose with -o") from None
    _say_what_next(draft, output)


def _from_api(url: str, timeout: str, given: Given, output: Path) -> Draft:
    from harness.draft import drafted_requests, read_api, write_draft
    from harness.units import parse_duration_s

    timeout_s = parse_duration_s(timeout)
    if not 0 < timeout_s <= 3600:
        raise UsageError("--timeout must be above 0 and at most 1h", "write --timeout 30s for example")
    api = read_api(url, timeout_s)
    requests = drafted_requests(api.tree, given)
    _refuse_unused(given)
    if not requests:
        raise HarnessError(f"{api.source} describes no operation", "describe one request: --request 'GET /'")
    called = f"{api.title} {api.version}".strip()
    about = f"{api.source} ({called})" if called else api.source
    return write_draft(api.title, api.target, requests, output.parent, about)


def _refuse_unused(given: Given) -> None:
    for name in given.files:
        if name not in given.used:
            hint = nearest(name, given.fields) if given.fields else "no operation takes a form with a file"
            raise UsageError(f"no operation has a file field '{name}'", hint)
    if given.body is not None and "" not in given.used:
        raise UsageError("no operation takes a file as its body", "files of a form: --file FIELD=PATH")


def _from_request(url: str, http: str, json_text: str | None, given: Given, output: Path) -> Draft:
    from harness.draft import Drafted, write_draft
    from harness.draft.operations import name_of
    from harness.draft.requests import literal
    from harness.draft.text import refusal
    from harness.scenario.target import parse_target

    target = parse_target(url)
    bodies = [text for text in (json_text, given.body, given.files or None) if text is not None]
    if len(bodies) > 1:
        raise UsageError("--json, --body and --file are three kinds of body", "keep one of them")
    fields: dict[str, Any] = {}
    if json_text is not None:
        fields["json"] = literal(_parsed_json(json_text))
    elif given.body is not None:
        fields["body"] = literal(given.body)
    elif given.files:
        fields["files"] = {n: literal(list(p)) if len(p) > 1 else literal(p[0]) for n, p in given.files.items()}
    request: Drafted = Drafted(literal(http), name_of(http.partition(" ")[2].partition("?")[0]), fields=fields)
    problem = refusal(request, output.parent)
    if problem is not None:
        raise UsageError(f"--request: {problem.message.partition(': ')[2]}", problem.hint)
    return write_draft(request.name, target, [request], output.parent, "one example request")


def _parsed_json(text: str) -> Any:
    def no_number(word: str) -> None:
        raise ValueError(f"{word} is not JSON")

    try:
        return json.loads(text, parse_constant=no_number)
    except (ValueError, RecursionError) as error:
        words = f"{error}".partition(":")[0].lower()
        raise UsageError(
            f"--json is not JSON: {words}", """quote it for the shell: --json '{"text": "hello"}'"""
        ) from None


# --- files ------------------------------------------------------------------------------------------------


def _refuse_to_overwrite(output: Path, force: bool) -> None:
    if output.is_dir():
        raise UsageError(f"{output} is a folder", f"name a file in it: -o {output / 'scenario.yaml'}")
    if output.exists() and not force:
        raise UsageError(f"{output} exists", "choose another name with -o, or write over it with --force")
    if not output.parent.is_dir():
        raise UsageError(f"there is no folder {output.parent}", "make it first")


def _fields(files: tuple[str, ...], output: Path) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for text in files:
        field, sign, path = text.partition("=")
        if not field or not sign or not path:
            raise UsageError(f"--file {text} names no field and no path", "write --file image=payloads/*.jpg")
        found[field] = (*found.get(field, ()), _path(path, "--file", output))
    return found


def _path(path: str, flag: str, output: Path) -> str:
    """A path or a glob typed here, as it has to be written in a scenario that stands there."""
    if not (Path(path).is_file() or any(os.path.isfile(match) for match in glob.iglob(path, recursive=True))):
        raise UsageError(f"{flag}: no file matches {path}", "paths start at the folder you are in")
    return path if os.path.isabs(path) else os.path.relpath(path, output.parent)


# --- what next --------------------------------------------------------------------------------------------


def _say_what_next(draft: Draft, output: Path) -> None:
    counts = [(draft.to_fill_in, "to fill in"), (draft.left_out, "left out")]
    more = "".join(f", {number} {what}" for number, what in counts if number)
    click.echo(f"wrote {output}: {draft.active} request{'' if draft.active == 1 else 's'} to send{more}")
    if not draft.active:
        click.echo(
            "nothing can be sent yet: the comments in it say what to fill in, or begin again with --file or --body"
        )
        return
    click.echo(f"next: harness check {output}      what would be sent")
    click.echo(f"      harness run {output}        stress, split, report")
