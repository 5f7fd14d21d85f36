"""The four models, loaded from the packages that carry them. Nothing is fetched.

magika: what kind of file is this. det, cls, rec: where is text, is it upside down, what does it say (PP-OCR).
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from harness.instrument import stage
from sample_service.faults import one_at_a_time, slowed

MAGIKA = "models/standard_v3_3"
DETECTOR = "models/PP-OCRv6_det_small.onnx"
TURNER = "models/ch_ppocr_mobile_v2.0_cls_mobile.onnx"
READER = "models/PP-OCRv6_rec_small.onnx"


class ModelsMissingError(Exception):
    """A package that carries a model is not installed, or not in the version this service knows."""


@dataclass(frozen=True, slots=True)
class Model:
    """One ONNX session. `name` is what its calls are called in spans."""

    name: str
    session: onnxruntime.InferenceSession

    def run(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """The model's first output for one batch [n, ...]: one inference span per call."""
        feed = {self.session.get_inputs()[0].name: batch}
        with (
            one_at_a_time(),
            stage("inference", model=self.name, batch_size=len(batch)),
            slowed("inference", self.name),
        ):
            outputs = self.session.run(None, feed)
        first: NDArray[np.float32] = outputs[0]
        return first


@dataclass(frozen=True, slots=True)
class FileKinds:
    """What magika's answer means: labels in output order, and how far each is to be trusted."""

    labels: tuple[str, ...]
    replaced: dict[str, str]  # labels that stand for another
    least_score: dict[str, float]  # below it a label is not to be trusted; `default_least_score` for the others
    default_least_score: float
    about: dict[str, dict[str, Any]]  # label -> mime_type, group, is_text


@dataclass(frozen=True, slots=True)
class Models:
    """Everything that is loaded once and shared by all worker threads (sessions are safe to share)."""

    magika: Model
    det: Model
    cls: Model
    rec: Model
    kinds: FileKinds
    characters: NDArray[np.str_]  # by class of the recogniser; class 0 is the CTC blank


def load_models(intra_threads: int, inter_threads: int, spin: bool = False) -> Models:
    """Load all four. `spin`: threads of a model that wait for each other keep their cores busy.

    Raises ModelsMissingError with one sentence.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = intra_threads
    options.inter_op_num_threads = inter_threads
    options.log_severity_level = 3
    # Spinning is the library's default; it takes processor time from the other requests.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "1" if spin else "0")

    def model(name: str, path: Path) -> Model:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return Model(name, session)

    reader = model("rec", _file("rapidocr", READER))
    return Models(
        magika=model("magika", _file("magika", f"{MAGIKA}/model.onnx")),
        det=model("det", _file("rapidocr", DETECTOR)),
        cls=model("cls", _file("rapidocr", TURNER)),
        rec=reader,
        kinds=_file_kinds(),
        characters=_characters(reader),
    )


def _file(package: str, path: str) -> Path:
    # The package is looked up, not imported: only its files are wanted, and importing costs a second.
    spec = importlib.util.find_spec(package)
    folder = Path(next(iter(spec.submodule_search_locations))) if spec and spec.submodule_search_locations else None
    if folder is None or not (folder / path).is_file():
        raise ModelsMissingError(f"the model file {path} of the package '{package}' is not installed")
    return folder / path


def _file_kinds() -> FileKinds:
    config = json.loads(_file("magika", f"{MAGIKA}/config.min.json").read_text())
    return FileKinds(
        labels=tuple(config["target_labels_space"]),
        replaced=config["overwrite_map"],
        least_score=config["thresholds"],
        default_least_score=config["medium_confidence_threshold"],
        about=json.loads(_file("magika", "config/content_types_kb.min.json").read_text()),
    )


def _characters(reader: Model) -> NDArray[np.str_]:
    listed = reader.session.get_modelmeta().custom_metadata_map["character"].splitlines()
    return np.array(["", *listed, " "])
