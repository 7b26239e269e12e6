"""What each kind of preparation writes is trained on by the real ``nodulus train``, which never opens the truth."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imaging.io.nifti_write import write_nifti
from imaging.models.text import TextConfig
from imaging.models.vision import VisionConfig
from imaging.models.weights import load_model

Prepared = Callable[[str, Path], Path]

#: Files opened while `watching`; audit hooks cannot be taken out again, so one serves all tests.
_OPENED: list[str] | None = None
_HOOKED = False


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if _OPENED is not None and event in ("open", "os.listdir", "os.scandir") and arguments[0] is not None:
        _OPENED.append(str(arguments[0]))


@contextmanager
def watching() -> Iterator[list[str]]:
    """Every file and folder that Python opens meanwhile."""
    global _OPENED, _HOOKED
    if not _HOOKED:
        sys.addaudithook(_hear)
        _HOOKED = True
    _OPENED = heard = []
    try:
        yield heard
    finally:
        _OPENED = None


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Path], None]:
    """``nodulus train`` for a few steps, with towers small enough for a test."""
    import pipelines.train as module
    from pipelines.cli.main import run

    vision = VisionConfig(slices=3, slice_step_mm=5.0, pixel_mm=1.4, window_pixels=24, width=16, depth=1, heads=2,
                          embedding=16, stem_channels=4)  # fmt: skip
    made = module.train_to_folder

    def small(*arguments: object, options: object = None, **settings: object) -> object:
        few = module.TrainOptions(vision, TextConfig(width=16, heads=2, layers=1), batch=8, rounds=2, shortest_round=1)
        return made(*arguments, options=few, **settings)

    monkeypatch.setattr(module, "train_to_folder", small)

    def call(manifest: Path, output: Path) -> None:
        words = ["train", "--manifest", str(manifest), "-o", str(output), "--steps", "4", "--quiet"]
        assert run(words) == 0

    return call


@pytest.fixture
def prepared(request: pytest.FixtureRequest, prepare, chests, tmp_path: Path) -> Prepared:
    """A prepared collection of any kind, from files as they are downloaded."""

    def make(kind: str, out: Path) -> Path:
        if kind in ("csv", "reports"):
            for name, volume in (("ball", chests.ball), ("clear", chests.clear)):
                write_nifti(volume.array, volume.grid, tmp_path / f"{name}.nii.gz")
            lines = {
                "csv": "path,label\nball.nii.gz,1\nclear.nii.gz,0\n",
                "reports": "path,text\nball.nii.gz,30 mm solid nodule.\nclear.nii.gz,双肺未见结节。\n",
            }
            (tmp_path / "own.csv").write_text(lines[kind], encoding="utf-8")
            words: list[object] = [tmp_path / "own.csv"]
        elif kind == "lidc":
            words = [request.getfixturevalue("lidc").root]
        elif kind == "luna16":
            words = [request.getfixturevalue("luna16")]
        else:
            found = request.getfixturevalue("nlst")
            words = [found.root, "--abnormalities", found.ctab, "--screens", found.screen]
        code, said = prepare(kind, *words, "-o", out, "--val", 0)
        assert code == 0, said
        return out

    return make


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lidc", "luna16", "nlst", "csv", "reports"])
def test_training_takes_it_and_never_opens_the_truth(kind, prepared, train, tmp_path):
    """Twice: the second time the truth is altered, then gone, and so is what the collection says of places."""
    out = prepared(kind, tmp_path / "out")
    truth = tmp_path / "out-truth"
    assert list(truth.rglob("*.csv"))
    with watching() as opened:
        train(out / "manifest.csv", tmp_path / "before")
    assert any(name.endswith(("manifest.csv", ".dcm", ".nii.gz", ".raw", ".mhd")) for name in opened), "it did listen"
    places = [n for n in opened if "out-truth" in n or n.endswith((".xml", "annotations.csv", "candidates_V2.csv"))]
    assert not [name for name in places if str(tmp_path) in name]
    for path in (*truth.rglob("*.csv"), *tmp_path.rglob("*.xml"), *tmp_path.rglob("annotations*.csv")):
        path.write_text("altered", encoding="utf-8")
    train(out / "manifest.csv", tmp_path / "altered")
    shutil.rmtree(truth)
    for path in (*tmp_path.rglob("*.xml"), *tmp_path.rglob("nlst_780*.csv"), *tmp_path.rglob("LUNA16/*.csv")):
        path.unlink()
    train(out / "manifest.csv", tmp_path / "gone")
    weights = [(tmp_path / name / "trained.safetensors").read_bytes() for name in ("before", "altered", "gone")]
    assert weights[0] == weights[1] == weights[2]
    record = json.loads((tmp_path / "before" / "run.json").read_text(encoding="utf-8"))
    assert {case["labels"][0] for case in record["cases"]} == {0.0, 1.0}
    assert load_model(tmp_path / "before").name == "trained"
