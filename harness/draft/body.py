"""The requestBody of an operation -> json, form, files, text or body of a drafted request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.draft.requests import FILL_ME_IN, Drafted, literal
from harness.draft.schema import Schemas, listed
from harness.draft.values import as_text, stated_value

LONGEST_JSON = 20_000
_EXTENSIONS = (
    ("jpg", ("image", "img", "photo", "picture", "jpeg")),
    ("wav", ("audio", "sound", "voice", "speech", "wav")),
    ("mp4", ("video", "movie", "clip")),
    ("pdf", ("pdf", "document")),
    ("csv", ("csv", "table")),
    ("txt", ("text",)),
)


@dataclass(slots=True)
class Given:
    """Files the user gave: paths or globs by form field, and for bodies that are one file. `used` are those asked."""

    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    body: str | None = None
    used: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)  # all file fields of the service

    def paths(self, name: str) -> tuple[str, ...]:
        """What was given for a field."""
        self.fields.add(name)
        if name in self.files:
            self.used.add(name)
        return self.files.get(name, ())


def add_body(request: Drafted, schemas: Schemas, node: Any, given: Given) -> None:
    """Add the body, of the first kind of content that can be made. Raises Endless."""
    content = schemas.resolved(node).get("content")
    media = {str(kind).split(";")[0].strip().lower(): m for kind, m in _mapping(content).items()}
    kind = min(media, key=_rank, default=None)
    if kind is None:
        return
    chosen = schemas.resolved(media[kind])
    if _rank(kind) <= 1:
        _add_json(request, schemas, kind, chosen)
    elif kind == "multipart/form-data":
        _add_multipart(request, schemas, chosen, given)
    elif kind == "application/x-www-form-urlencoded":
        value = _value(chosen, schemas)
        request.fields["form"] = _form(value if isinstance(value, Mapping) else {})
    elif kind == "text/plain":
        request.fields["text"] = literal(as_text(_value(chosen, schemas)))
    else:
        _add_raw(request, kind, given)


def _rank(kind: str) -> int:
    order = ("application/json", "", "multipart/form-data", "application/x-www-form-urlencoded", "text/plain")
    return order.index(kind) if kind in order else 1 if kind.endswith("+json") else len(order)


def _value(media: Mapping[str, Any], schemas: Schemas) -> Any:
    stated = stated_value(media, schemas)
    return schemas.value(media.get("schema")) if stated is None else stated


def _add_json(request: Drafted, schemas: Schemas, kind: str, media: Mapping[str, Any]) -> None:
    value = _value(media, schemas)
    if len(json.dumps(value)) > LONGEST_JSON:
        request.fields["body"] = f"{FILL_ME_IN}.json"
        request.fill.append("body, a file with the JSON to send: the example is too long to stand here")
    else:
        request.fields["json"] = literal(value)
    if kind != "application/json":
        request.fields.setdefault("headers", {})["Content-Type"] = kind


def _add_raw(request: Drafted, kind: str, given: Given) -> None:
    if given.body is not None:
        given.used.add("")
        request.fields["body"] = literal(given.body)
    else:
        request.fields["body"] = f"{FILL_ME_IN}.{_extension(kind, '')}"
        request.fill.append("body, a file to send or a glob such as payloads/*; or begin again with --body PATH")
    if "*" not in kind and kind != "application/octet-stream":
        request.fields.setdefault("headers", {})["Content-Type"] = kind


# --- forms ------------------------------------------------------------------------------------------------


def _add_multipart(request: Drafted, schemas: Schemas, media: Mapping[str, Any], given: Given) -> None:
    schema = schemas.plain(media.get("schema"))
    required = listed(schema.get("required"))
    properties = _mapping(schema.get("properties"))
    files = [name for name, own in properties.items() if _is_file(own, schemas)]
    for name in files:
        paths = given.paths(name)
        # A form without any file would be no form of this kind, so the optional ones count when there are no others.
        if paths or name in required or not any(n in required for n in files):
            kind = schemas.resolved(_mapping(media.get("encoding")).get(name)).get("contentType")
            _add_file(request, name, paths, str(kind or ""))
    texts = {name: own for name, own in properties.items() if name not in files}
    form = {name: schemas.value(own, name) for name, own in texts.items() if name in required or schemas.is_stated(own)}
    stated = stated_value(media, schemas)
    form |= {k: v for k, v in stated.items() if k not in files} if isinstance(stated, Mapping) else {}
    if form:
        request.fields["form"] = _form(form)
    if not files:
        request.notes.append("the document asks for multipart/form-data without a file; this is sent urlencoded")


def _add_file(request: Drafted, name: str, paths: tuple[str, ...], kind: str) -> None:
    value = [literal(path) for path in paths]
    if not paths:
        value = [f"{FILL_ME_IN}.{_extension(kind, name)}"]
        hint = f"or begin again with --file {name}=PATH"
        request.fill.append(f"{name}, a file to send or a glob such as payloads/*; {hint}")
    request.fields.setdefault("files", {})[name] = value[0] if len(value) == 1 else value


def _is_file(node: Any, schemas: Schemas) -> bool:
    """Whether it is a file, or a list of files."""
    own = schemas.plain(node)
    if own.get("type") == "array":
        own = schemas.plain(own.get("items"))
    media_type = own.get("contentMediaType")
    bare = isinstance(media_type, str) and "contentEncoding" not in own and "json" not in media_type
    return own.get("format") == "binary" or bare


def _form(value: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, item in value.items():
        if isinstance(item, list):
            made |= {name: [literal(as_text(one)) for one in item]} if item else {}
        elif item is not None:
            made[name] = literal(as_text(item))
    return made


def _extension(kind: str, name: str) -> str:
    words = f"{kind} {name}".lower()
    return next((extension for extension, hints in _EXTENSIONS if any(hint in words for hint in hints)), "bin")


def _mapping(node: Any) -> Mapping[str, Any]:
    return node if isinstance(node, Mapping) else {}
