"""Every notebook is stored without output and runs from top to bottom."""

from __future__ import annotations

from pathlib import Path

import nbformat
import numpy as np
import pytest

from imaging.simulation.dicom_series import write_series
from imaging.simulation.lesions import NoduleWish
from imaging.simulation.thorax import make_thorax

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="session")
def small_ct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small CT at ``ct``, so that notebooks run in seconds."""
    home = tmp_path_factory.mktemp("notebook")
    rng = np.random.default_rng(11)
    wishes = [NoduleWish(diameter_mm=12.0)]
    volume, _ = make_thorax(rng=rng, shape=(60, 160, 160), spacing_mm=(3.0, 1.2, 1.2), nodules=wishes)
    write_series(volume, home / "ct")
    return home


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_output(path: Path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, small_ct: Path, monkeypatch: pytest.MonkeyPatch):
    from nbclient import NotebookClient

    monkeypatch.setenv("NODULUS_NOTEBOOK_CT", str(small_ct))
    monkeypatch.setenv("NODULUS_NOTEBOOK_SHORT", "1")  # what takes minutes: the same steps, fewer of them
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
