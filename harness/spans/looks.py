"""What the choice of a stage may depend on, of millions of spans: their different names, and the attributes asked for.

The attributes of a span are JSON, nearly all of it different from span to span. It is parsed only where a key that is
asked for occurs; and where the value is a plain one, only the value is cut out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Attributes: TypeAlias = dict[str, object]
Codes: TypeAlias = npt.NDArray[np.int64]

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_.\-/]+")
_MOST_COMBINATIONS = 2**62
_SCALAR = r'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+\-]*|true|false|null'


def attributes_of(text: str | None) -> Attributes:
    """The attributes of a span row; none when the text is not a JSON object."""
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def as_text(value: object) -> str:
    """A value as a glob sees it."""
    return value if isinstance(value, str) else json.dumps(value)


def encoded(column: pa.ChunkedArray) -> tuple[list[str], Codes]:
    """The different values of a column (null among them) and the number of each row's value."""
    found = pc.dictionary_encode(column, null_encoding="encode").combine_chunks()
    if isinstance(found, pa.ChunkedArray):
        found = found.chunk(0) if found.num_chunks else pa.array([], found.type)
    return found.dictionary.to_pylist(), found.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def wanted_attributes(column: pa.ChunkedArray, keys: Iterable[str]) -> tuple[list[Attributes], Codes]:
    """The attributes asked for: the different sets of them, and which one each span has."""
    keys = sorted(keys)
    sets = _Sets()
    set_of = np.zeros(len(column), dtype=np.int64)
    rows = _mentioning(column, keys)
    if not len(rows):
        return sets.found, set_of
    texts = column.take(pa.array(rows))
    flat = _flat(texts, keys)
    set_of[rows[flat]] = _cut_out(texts.filter(pa.array(flat)), keys, sets)
    set_of[rows[~flat]] = _parsed(texts.filter(pa.array(~flat)), keys, sets)
    return sets.found, set_of


class _Sets:
    """Sets of attributes, each once; the first one is empty."""

    def __init__(self) -> None:
        self.found: list[Attributes] = [{}]
        self._numbers = {repr({}): 0}

    def number(self, attributes: Attributes) -> int:
        known = self._numbers.setdefault(repr(attributes), len(self.found))
        if known == len(self.found):
            self.found.append(attributes)
        return known


def _mentioning(column: pa.ChunkedArray, keys: list[str]) -> npt.NDArray[np.intp]:
    """The rows in whose text a key may occur."""
    if not all(map(_PLAIN_KEY.fullmatch, keys)):  # JSON may write such a key in several ways
        return np.flatnonzero(pc.is_valid(column).to_numpy())
    hits = [pc.fill_null(pc.match_substring(column, f'"{key}"'), False).to_numpy() for key in keys]
    return np.flatnonzero(np.logical_or.reduce(hits))


def _flat(texts: pa.ChunkedArray, keys: list[str]) -> npt.NDArray[np.bool_]:
    """Which objects are one closed pair of braces with no other inside: there, every key is one of the span's own."""
    if not all(map(_PLAIN_KEY.fullmatch, keys)):
        return np.zeros(len(texts), dtype=np.bool_)
    one = pc.match_substring_regex(texts, r"^\{[^{}]*\}$")
    return np.asarray(one.to_numpy(), dtype=np.bool_)


def _cut_out(texts: pa.ChunkedArray, keys: list[str], sets: _Sets) -> Codes:
    """The numbers of the sets, from the values of the keys alone; whole objects are parsed where one is a list."""
    mixed, possible = np.zeros(len(texts), dtype=np.int64), 1
    values: list[list[str | None]] = []
    for key in keys:
        pattern = rf'"{re.escape(key)}"\s*:\s*(?P<it>{_SCALAR}|\[)'
        different, code = encoded(pc.struct_field(pc.extract_regex(texts, pattern), "it"))
        possible *= max(1, len(different))
        if possible > _MOST_COMBINATIONS:
            return _parsed(texts, keys, sets)
        mixed = mixed * len(different) + code
        values.append(list(different))
    combinations, which = np.unique(mixed, return_inverse=True)
    chosen = [_combination(each, values) for each in combinations.tolist()]
    numbers = np.array([-1 if "[" in one else sets.number(_values(keys, one)) for one in chosen], dtype=np.int64)
    found = np.asarray(numbers[which], dtype=np.int64)
    lists = found < 0
    if lists.any():
        found[lists] = _parsed(texts.filter(pa.array(lists)), keys, sets)
    return found


def _combination(number: int, values: list[list[str | None]]) -> list[str | None]:
    found: list[str | None] = []
    for different in reversed(values):
        number, code = divmod(number, len(different))
        found.append(different[code])
    return found[::-1]


def _values(keys: list[str], texts: list[str | None]) -> Attributes:
    found: Attributes = {}
    for key, text in zip(keys, texts, strict=True):
        if text is not None:
            try:
                found[key] = json.loads(text)
            except ValueError:  # a run folder that was edited
                continue
    return found


def _parsed(texts: pa.ChunkedArray, keys: list[str], sets: _Sets) -> Codes:
    different, code = encoded(texts)
    numbers = []
    for text in different:
        attributes = attributes_of(text)
        numbers.append(sets.number({key: attributes[key] for key in keys if key in attributes}))
    return np.array(numbers, dtype=np.int64)[code] if numbers else code
