"""Asks for a folder and exports the review into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QFileDialog

from pipelines.viewer.export import export_review
from pipelines.viewer.session import Session


def export(parent: Any, session: Session) -> None:
    """Export where the reader says; nothing where the question is cancelled.

    Raises:
        OutputError: the folder cannot be written.
    """
    chosen = QFileDialog.getExistingDirectory(parent, "Export the reviewed report to an empty folder")
    if chosen:
        files = export_review(session, Path(chosen))
        parent.tell(f"written to {chosen}: {', '.join(files)}")
