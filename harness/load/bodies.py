"""Request bodies: multipart forms, bodies of files, and those a function of the user makes."""

from __future__ import annotations

import hashlib
import json
import mimetypes
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np

from harness.errors import ScenarioError
from harness.load.python_file import function_of, place_in
from harness.model import BodySpec

Body = tuple[bytes | None, str | None]  # with its content type
_TEXT = "text/plain; charset=utf-8"


def multipart(
    fields: Iterable[tuple[str, str]], files: Iterable[tuple[str, str, bytes, str | None]]
) -> tuple[bytes, str]:
    """(body, content type) of a multipart/form-data form; `files` are (field, file name, content, type or None).

    RFC 7578; quotes and line breaks in names are escaped the way browsers do (WHATWG HTML, multipart/form-data).
    """
    kept = list(files)
    seed = b"".join(content[:4096] + name.encode() for _, name, content, _ in kept)
    boundary = "mlharness-" + hashlib.blake2b(seed, digest_size=16).hexdigest()
    parts: list[bytes] = []
    for field, value in fields:
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(field)}"\r\n\r\n'.encode())
        parts.append(value.encode() + b"\r\n")
    for field, name, content, guessed in kept:
        kind = guessed or guess_type(name)
        disposition = f'form-data; name="{_quoted(field)}"; filename="{_quoted(name)}"'
        parts.append(f"--{boundary}\r\nContent-Disposition: {disposition}\r\nContent-Type: {kind}\r\n\r\n".encode())
        parts += [content, b"\r\n"]
    parts.append(f"--{boundary}--\r\n".encode())
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"


def _quoted(name: str) -> str:
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def guess_type(name: str) -> str:
    """The media type a file name suggests."""
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def choices(body: BodySpec) -> tuple[Sequence[str], ...]:
    """The files of which one is drawn for each request, per field."""
    return (body.body,) if body.body else tuple(paths for _, paths in body.files)


def body_of(spec: BodySpec, drawn: Sequence[str], read: Callable[[str], bytes]) -> Body:
    """The body of a request that sends the files `drawn`, one of each choice."""
    if spec.json is not None:
        return spec.json.encode(), "application/json"
    if spec.text is not None:
        return spec.text.encode(), _TEXT
    if spec.body:
        return read(drawn[0]), guess_type(drawn[0])
    if spec.files:
        fields = [field for field, _ in spec.files]
        files = [(f, Path(p).name, read(p), None) for f, p in zip(fields, drawn, strict=True)]
        return multipart(spec.form, files)
    if spec.form:
        return urlencode(spec.form).encode(), "application/x-www-form-urlencoded"
    return None, None


# --- made by a function ------------------------------------------------------------------------------------


def made_body(named: str, seed: int, request_id: int) -> Body:
    """What the function `named` makes of a numpy Generator seeded by the run's seed and the request's id.

    It returns bytes, a text, (either of them, content type), or anything that JSON can carry, numpy arrays included.
    Raises ScenarioError when it does not, or fails.
    """
    path, name = Path(named.rpartition(":")[0]), named.rpartition(":")[2]
    seeds = np.random.SeedSequence(seed, spawn_key=(1 << 21, request_id))
    try:
        made = function_of(named)(np.random.Generator(np.random.PCG64(seeds)))
    except ScenarioError:
        raise
    except Exception as error:  # user code may raise anything
        traceback.print_exc()
        words = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        problem = f"{name}() made no body for request {request_id}: {words}"
        raise ScenarioError(problem, "load-*.log in the run folder has the traceback", place_in(path, error)) from None
    try:
        return _sent_as(made)
    except (TypeError, ValueError, RecursionError) as error:
        problem = f"{name}() returned what cannot be sent: {error}"
        raise ScenarioError(problem, "return bytes, a text, (bytes, content type), or JSON values", str(path)) from None


def _sent_as(made: Any) -> Body:
    if isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], bytes | bytearray | str):
        content, content_type = made
        if not isinstance(content_type, str):
            raise TypeError(f"the content type is {content_type!r}")
        return _sent_as(content)[0], content_type
    if isinstance(made, bytes | bytearray | memoryview):
        return bytes(made), "application/octet-stream"
    if isinstance(made, str):
        return made.encode(), _TEXT
    if made is None:
        raise TypeError("it returned None")
    return json.dumps(made, default=_plain, allow_nan=False, separators=(",", ":")).encode(), "application/json"


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"JSON has no {type(value).__name__}")
