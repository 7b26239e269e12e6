"""``nodulus info``."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from pipelines.cli.options import Voice
from pipelines.cli.speak import tell


def info(*, codes: Annotated[bool, Parameter(negative="")] = False, voice: Voice = Voice()) -> int:  # noqa: B008
    """Say what is installed: versions, weights with their operating point, formats, devices, exit codes.

    Parameters
    ----------
    codes
        List every code of a refusal or a note, with its meaning and what to do.
    """
    result = _codes() if codes else _facts()
    tell(voice, result, lambda: _codes_text(result) if codes else _text(result))
    return 0


def _facts() -> dict[str, Any]:
    import platform

    from imaging.outputs.registry import DEFAULT_FORMATS, WRITERS
    from imaging.provenance import library_versions, software_version
    from pipelines.exit_codes import MEANINGS

    return {
        "software": software_version(),
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
        "libraries": library_versions(),
        "devices": _devices(),
        "weights": _weights(),
        "reads": ["DICOM (files, folders, zip; single and enhanced multi-frame CT)", "NIfTI", "MetaImage", "NRRD"],
        "writes": {
            row.name: {"files": list(row.files), "purpose": row.purpose, "default": row.name in DEFAULT_FORMATS}
            for row in WRITERS.values()
        },
        "exit_codes": {str(int(code)): meaning for code, meaning in MEANINGS.items()},
    }


def _devices() -> list[str]:
    """What ``--device`` can be here."""
    import torch

    devices = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    return [*devices, "mps"] if torch.backends.mps.is_available() else devices


def _weights() -> dict[str, Any]:
    """The shipped weights: entry of the manifest, or why they cannot be used."""
    from imaging.errors import ModelError
    from imaging.models.weights import load_model

    try:
        model = load_model()
    except ModelError as error:
        return {"error": error.to_json()}
    return {
        "name": model.name,
        "sha256": model.sha256,
        "operating_point": model.operating_point.to_json(),
        "card": dict(model.card),
    }


def _text(facts: dict[str, Any]) -> str:
    from imaging.outputs.words import false_marks
    from pipelines.cli.show import NOT_FOR_DIAGNOSIS, table

    weights = facts["weights"]
    if "error" in weights:
        model = f"Weights: {weights['error']['code']}: {weights['error']['message']}"
    else:
        point = weights["operating_point"]
        cost = false_marks(point["false_marks_per_scan"])
        model = (
            f"Weights: {weights['name']} (sha256 {weights['sha256'][:12]}), marks from a score of "
            f"{point['threshold']:.3f} at {cost} a scan ({point['measured_on']})"
        )
    formats = [(name, ", ".join(row["files"]), row["purpose"]) for name, row in facts["writes"].items()]
    return "\n\n".join(
        (
            f"{facts['software']}, Python {facts['python']}, {facts['system']}",
            table(("library", "version"), facts["libraries"].items()),
            model,
            f"Devices: {', '.join(facts['devices'])}",
            f"Reads: {'; '.join(facts['reads'])}",
            table(("--format", "files", "what"), formats),
            table(("exit code", "meaning"), facts["exit_codes"].items()),
            NOT_FOR_DIAGNOSIS,
        )
    )


def _codes() -> dict[str, Any]:
    from imaging.errors import CODES

    return {code: {"kind": row.kind, "meaning": row.meaning, "next": row.remedy} for code, row in CODES.items()}


def _codes_text(codes: dict[str, Any]) -> str:
    return "\n".join(
        f"{code} ({row['kind']}): {row['meaning']}\n    next: {row['next']}" for code, row in codes.items()
    )
