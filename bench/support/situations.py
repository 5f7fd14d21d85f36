"""Twelve situations of the sample service, each with the cause that is to be named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from harness.model import Arrivals, BodySpec, LoadProfile, RequestSpec, Scenario, SpanSpec, Step
from sample_service.page_image import page_image

PAYLOADS = Path(__file__).parent.parent.parent / "scenarios" / "payloads"
WORDS = ("Total", "Milk", "Bread", "Butter", "Honey", "Salt", "Tea", "Rice", "Oil", "Soap", "Jam", "Eggs")


@dataclass(frozen=True, slots=True)
class Ask:
    """One kind of request. `pictures` are file names in the folder of `draw`, one drawn per request."""

    name: str
    method: str
    path: str
    pictures: tuple[str, ...] = ()
    as_form: bool = False
    costed: int = 30  # requests that are sent to learn what one costs


SMALL = tuple(f"word-{number:02d}.png" for number in range(24))
LARGE = ("page-1.bmp", "page-2.bmp")  # of 26: few, but in every run some
IDENTIFY = Ask("identify", "POST", "/v1/identify", ("orders.json",))
READ = Ask("read", "POST", "/v1/read", SMALL, as_form=True)
READ_SOME_LARGE = Ask("read", "POST", "/v1/read", (*SMALL, *LARGE), as_form=True)
UPLOAD = Ask("upload", "POST", "/v1/identify", ("photo.bmp",))
FETCH = Ask("page-image", "GET", "/v1/page-image?bytes=400000")
HEALTH = Ask("healthz", "GET", "/healthz", costed=200)


@dataclass(frozen=True, slots=True)
class Situation:
    """One run. Arrivals keep what they hold `share` busy: the core, and `hold_s` of something else per request."""

    expected: str | None  # code of the cause; None: there is none
    ask: Ask
    env: Mapping[str, str] = field(default_factory=dict)
    stage: str | None = None  # what the cause must name, if given
    model: str | None = None
    hold_s: float = 0.0
    share: float = 0.3
    most_per_s: float = 20.0
    seconds: float = 10.0
    warmup_s: float = 1.5
    up: float = 0.0  # MiB/s of the line to the service, 0: not limited
    down: float = 0.0
    burners: int = 0
    own_cost: bool = False  # the environment changes what a request costs

    def rate(self, cost_s: float) -> float:
        return min(self.most_per_s, self.share / (self.hold_s + cost_s))

    def scenario(self, name: str, port: int, rate: float, seed: int, folder: Path) -> Scenario:
        paths = tuple(str(folder / picture) for picture in self.ask.pictures)
        body = BodySpec(files=(("image", paths),)) if self.ask.as_form else BodySpec(body=paths)
        request = RequestSpec(self.ask.name, self.ask.method, self.ask.path, body=body)
        load = LoadProfile(Arrivals.POISSON, (Step(rate, self.seconds),), self.warmup_s, 20.0, seed)
        return Scenario(name, f"http://127.0.0.1:{port}", (request,), None, load, SpanSpec(source="otlp"), ())


def faults(text: str) -> dict[str, str]:
    return {"FAULTS": text}


def waits(ask: Ask, fault: str, stage: str, model: str | None = None) -> Situation:
    return Situation("stage_waits", ask, faults(fault), stage, model)


SLOW_STAGES = (
    waits(IDENTIFY, "preprocess:80ms", "preprocess"),
    waits(READ, "inference@det:250ms", "inference", "det"),
    waits(READ, "inference@rec:250ms", "inference", "rec"),
    waits(IDENTIFY, "postprocess:80ms", "postprocess"),
    Situation("stage_dominates", IDENTIFY, faults("preprocess:30ms~cpu"), "preprocess", hold_s=0.03),
)
QUIET = (
    Situation(None, IDENTIFY, share=0.1),
    Situation(None, READ, share=0.15),
    Situation(None, FETCH, share=0.1),
)

SITUATIONS: dict[str, tuple[Situation, ...]] = {
    "slow stage": SLOW_STAGES,
    "lock": (Situation("lock", IDENTIFY, faults("lock:60ms"), hold_s=0.06, share=0.65),),
    "pool of 1": (
        Situation(
            "thread_pool", IDENTIFY, {**faults("inference:60ms"), "READER_THREADS": "1"}, hold_s=0.06, share=0.75
        ),
    ),
    "blocked loop": (Situation("event_loop", IDENTIFY, faults("loop:50ms"), hold_s=0.05, share=0.6),),
    "slow upload": (Situation("upload", UPLOAD, up=4.0),),
    "slow reader": (Situation("download", FETCH, down=4.0),),
    "cold start": (Situation("cold_start", IDENTIFY, faults("cold:1500ms"), most_per_s=12, warmup_s=0.0),),
    "poison": (Situation("payload", READ_SOME_LARGE, {"READER_THREADS": "4"}, share=0.4, seconds=16.0),),
    "threads": (
        Situation(
            "oversubscribed", IDENTIFY, {"ONNX_INTRA_THREADS": "8", "ONNX_SPIN": "1", "READER_THREADS": "8"}, share=0.5,
            own_cost=True,
        ),
    ),
    "batch window": (Situation("batch_window", IDENTIFY, {"IDENTIFY_BATCH": "8:80ms"}),),
    "generator": (Situation("generator", HEALTH, share=0.5, most_per_s=800, seconds=6.0, burners=32),),
    "nothing": QUIET,
}  # fmt: skip


def draw(folder: Path) -> None:
    """What the situations send: a small file, single words, a photograph to send, and pages that are much more work."""
    (folder / "orders.json").write_bytes((PAYLOADS / "files" / "orders.json").read_bytes())
    (folder / "photo.bmp").write_bytes(page_image(400_000))
    for number, name in enumerate(LARGE):
        (folder / name).write_bytes(page_image(120_000 + 10_000 * number))
    for number, name in enumerate(SMALL):
        picture = np.full((48, 160), 255 - number, np.uint8)
        cv2.putText(picture, WORDS[number % len(WORDS)], (10, 34), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 0, 2)
        cv2.imwrite(str(folder / name), picture)
