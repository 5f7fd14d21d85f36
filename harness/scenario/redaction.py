"""The scenario text that may be stored: as written, with literal secrets replaced by `***`.

`${NAME}` is kept as it is, since the text is taken before replacement; a default written behind it is a literal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from harness.scenario.document import Block, Items, Node, Scalar

STARS = "***"

_SECRET_NAME = re.compile(r"authorization|cookie|token|secret|key|passw|pwd|credential|session|signature|auth", re.I)
_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)*")  # an anchor in front of a value
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_SCHEME = re.compile(r"(bearer|basic|token|digest|apikey|key) +", re.I)
_QUERY = re.compile(r"([?&]([^=&\s]+)=)([^&\s\"']+)")
_USER_INFO = re.compile(r"(://)[^/@\s\"']+@")
_COMMENT = re.compile(r"^(\s*#.*?([\w-]+)\s*[:=]\s*)(\S.*)$", re.M)
_HARMLESS = re.compile(r"[0-9.]*|true|false|null|~")

Cover = Callable[[str, Scalar], str]


def redacted(text: str, root: Node) -> str:
    """`text`, the YAML that `root` was read from, without the secrets written in it."""
    found = {(scalar.start, scalar.end): (scalar, cover) for scalar, cover in _secrets(root)}
    for (start, end), (scalar, cover) in sorted(found.items(), key=lambda item: item[0], reverse=True):
        text = text[:start] + cover(text[start:end], scalar) + text[end:]
    return _COMMENT.sub(lambda m: m[1] + (STARS if _SECRET_NAME.search(m[2]) else m[3]), text)


def _secrets(root: Node) -> Iterator[tuple[Scalar, Cover]]:
    target = _child(root, "target")
    if isinstance(target, Scalar):
        yield target, _without_user
    requests = _child(root, "requests")
    for request in requests.nodes if isinstance(requests, Items) else ():
        http = _child(request, "http")
        if isinstance(http, Scalar):
            yield http, _without_secret_query
        sections = [(_child(request, name), False) for name in ("headers", "params", "form")]
        sections += [(_child(holder, "json"), True) for holder in (request, _child(request, "expect"))]
        for section, texts_only in sections:
            for scalar in _below_secret_names(section, texts_only=texts_only):
                yield scalar, _covered


def _below_secret_names(node: Node | None, *, texts_only: bool) -> Iterator[Scalar]:
    """Values below secret-looking names. With `texts_only` {"max_tokens": 100} is no secret."""
    for item in node.nodes if isinstance(node, Items) else ():
        yield from _below_secret_names(item, texts_only=texts_only)
    for entry in node.entries if isinstance(node, Block) else ():
        if not _SECRET_NAME.search(entry.key):
            yield from _below_secret_names(entry.node, texts_only=texts_only)
            continue
        for scalar in _scalars(entry.node):
            if not (texts_only and scalar.plain and _HARMLESS.fullmatch(scalar.raw)):
                yield scalar


def _scalars(node: Node) -> Iterator[Scalar]:
    if isinstance(node, Scalar):
        yield node
        return
    for child in node.nodes if isinstance(node, Items) else [entry.node for entry in node.entries]:
        yield from _scalars(child)


def _child(node: Node | None, key: str) -> Node | None:
    entries = node.entries if isinstance(node, Block) else ()
    return next((entry.node for entry in entries if entry.key == key), None)


def _without_user(written: str, _: Scalar) -> str:
    return _USER_INFO.sub(rf"\1{STARS}@", written)


def _without_secret_query(written: str, _: Scalar) -> str:
    return _QUERY.sub(lambda m: m[1] + (_stars(m[3]) if _SECRET_NAME.search(m[2]) else m[3]), written)


def _covered(written: str, scalar: Scalar) -> str:
    """The value in stars; an anchor in front and the line break behind a block of text stay."""
    stars = _stars(scalar.raw)
    if stars == scalar.raw:
        return written
    properties = _PROPERTIES.match(written)
    return f'{properties[0] if properties else ""}"{stars}"{written[len(written.rstrip()) :]}'


def _stars(value: str) -> str:
    """Every literal part as `***`; `${NAME}` and a leading scheme such as Bearer stay."""
    scheme = _SCHEME.match(value)
    at = scheme.end() if scheme else 0
    parts = [value[:at]]
    for variable in _VARIABLE.finditer(value, at):
        parts.append(STARS if value[at : variable.start()].strip() else "")
        parts.append(f"${{{variable[1]}:-{STARS}}}" if variable[2] else variable[0])
        at = variable.end()
    parts.append(STARS if value[at:].strip() else "")
    return "".join(parts)
