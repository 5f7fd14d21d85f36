"""Servers whose spans are known, by the names of `harness.model.PRESETS`."""

from __future__ import annotations

import pyarrow as pa

from harness.model import PRESETS
from harness.spans.presets.bentoml import BENTOML
from harness.spans.presets.fastapi import FASTAPI
from harness.spans.presets.kserve import KSERVE
from harness.spans.presets.preset import Preset
from harness.spans.presets.ray import RAY
from harness.spans.presets.triton import TRITON
from harness.spans.presets.vllm import VLLM

__all__ = ["BY_NAME", "Preset", "recognise"]

BY_NAME = {preset.name: preset for preset in (FASTAPI, TRITON, KSERVE, VLLM, BENTOML, RAY)}

_MOST_TELLING = (TRITON, VLLM, RAY, FASTAPI, KSERVE)
_LOOKED_AT = 50_000


def recognise(spans: pa.Table) -> str | None:
    """The preset whose server these spans look like, from the first of them; None when they look like no one's.

    A server inside another counts: vLLM behind FastAPI is vLLM, since that is where the time goes.
    """
    head = spans.slice(0, _LOOKED_AT)
    return next((preset.name for preset in _MOST_TELLING if head.num_rows and preset.known_by(head)), None)


assert set(BY_NAME) == set(PRESETS)  # noqa: S101
