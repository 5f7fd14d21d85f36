"""summary.json: a Summary as JSON and back. `stages` is an object keyed by stage name."""

from __future__ import annotations

from typing import Any

from harness.errors import RunFolderError
from harness.findings import Summary, Verdict
from harness.report.json_findings import adapter, as_text, first_line, loaded, paired, plain, schema_of_findings


def render(summary: Summary) -> str:
    """The JSON text, indented, with a newline at its end."""
    return as_text(as_object(summary))


def as_object(summary: Summary) -> dict[str, Any]:
    """The summary in objects, lists, texts and finite numbers; no limit of an invalid run is passed or failed."""
    made: dict[str, Any] = plain(Summary, summary)
    made["stages"] = {stage.pop("stage"): stage for stage in made["stages"]}
    if summary.verdict is Verdict.INVALID:
        for slo in made["slo"]:
            slo["verdict"] = Verdict.INVALID.value
    return made


def parse(text: str) -> Summary:
    """The Summary that `render` wrote. Raises RunFolderError when the text is anything else."""
    try:
        made = loaded(text)
        made["stages"] = [{"stage": name, **stage} for name, stage in made["stages"].items()]
        made["sentences"] = [{"text": s} if isinstance(s, str) else s for s in made["sentences"]]  # as once written
        summary: Summary = adapter(Summary).validate_python(paired(Summary, made))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as e:
        raise RunFolderError(
            f"this is not a summary.json of this version: {first_line(e)}",
            "write it again from the stored run with `harness report`",
        ) from e
    return summary


_MEANINGS = {
    "verdict": "Of the whole run. 'passed' with an empty 'slo' says that nothing was judged; see also 'accepted'.",
    "slo": "Each limit on its own; all are 'invalid' when 'verdict' is.",
    "accepted": "What makes the measurement invalid and was accepted as it is, as the user asked.",
}
"""What a reader of the file has to know of a field."""


def schema() -> dict[str, Any]:
    """The JSON schema of what `render` writes; the committed schema file is a copy of it."""
    made = schema_of_findings(Summary, "summary.json of a harness run")
    stage = made["$defs"]["StageFindings"]
    del stage["properties"]["stage"]
    stage["required"].remove("stage")
    for name, meaning in _MEANINGS.items():
        made["properties"][name]["description"] = meaning
    made["properties"]["stages"] = {"type": "object", "additionalProperties": {"$ref": "#/$defs/StageFindings"}}
    return made
