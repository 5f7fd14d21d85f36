"""Values of parameters and media types, as the document states them and as they are sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.draft.schema import Schemas


def stated_value(holder: Mapping[str, Any], schemas: Schemas) -> Any:
    """The example of a parameter or a media type, or the first of its examples; None without one."""
    if "example" in holder:
        return holder["example"]
    examples = holder.get("examples")
    for example in examples.values() if isinstance(examples, Mapping) else ():
        found = schemas.resolved(example)
        if "value" in found:
            return found["value"]
    own = schemas.resolved(holder.get("schema"))
    if "example" in own:
        return own["example"]
    return own["examples"][0] if isinstance(own.get("examples"), list) and own["examples"] else None


def as_text(value: Any) -> str:
    """A value as it stands in a path, a query, a header or a form."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
