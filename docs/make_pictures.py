"""Makes the pictures of README.md and docs/napari.md from the viewer itself; needs a display (xvfb-run).

    xvfb-run -a -s "-screen 0 1600x1200x24" python docs/make_pictures.py

It uses LIDC-IDRI-0001 from ../shared/data/ct where that folder exists (TCIA, CC BY 3.0: name the source beside the
picture), and the project's own phantom elsewhere.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

#: How the earlier study of the comparison differs from the CT: its patient lies elsewhere and has breathed less deeply
#: (LPS mm), and its largest finding has this share of the diameter.
MOVED = ((1.0, 0.0, 0.0, 11.0), (0.0, 1.0, 0.0, -8.0), (0.0, 0.0, 0.96, 21.0), (0.0, 0.0, 0.0, 1.0))
EARLIER_DIAMETER = 0.8
DAYS = 92

HERE = Path(__file__).resolve().parent
REAL_CT = HERE.parents[1] / "shared" / "data" / "ct" / "LIDC-IDRI-0001.zip"
LARGEST_BYTES = 400_000


def the_ct(folder: Path) -> Path:
    """The real CT where it is present, else a phantom written as a DICOM series into `folder`."""
    if REAL_CT.is_file():
        return REAL_CT
    import numpy as np

    from imaging.simulation.dicom_series import write_series
    from imaging.simulation.thorax import make_thorax

    rng = np.random.default_rng(20)
    volume, _ = make_thorax(rng=rng, shape=(120, 384, 384), spacing_mm=(2.5, 0.9, 0.9))
    write_series(volume, folder / "phantom", rng=rng)
    return folder / "phantom"


def the_result(ct: Path, folder: Path | None, scratch: Path) -> Path:
    """A result of `nodulus predict` that exists already, or a new one."""
    if folder is not None:
        return folder
    from pipelines.predict import predict_to_folder

    predict_to_folder(ct, scratch / "result", formats=("json", "csv", "maps"))
    return scratch / "result"


def palette_of(image: Any, colours: int) -> Any:
    """Half the palette for greys, which are the CT, half for the colours, which are rare and say what was decided."""
    import numpy as np
    from PIL import Image

    pixels = np.asarray(image).reshape(-1, 3)
    coloured = pixels[np.ptp(pixels.astype(int), axis=1) > 16]
    greys = np.repeat(np.linspace(0, 255, colours // 2).round().astype(np.uint8)[:, None], 3, axis=1)
    rare = Image.fromarray(coloured[None] if len(coloured) else greys[None])
    found = rare.quantize(colours // 2, method=Image.Quantize.MAXCOVERAGE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*greys.ravel().tolist(), *found[: 3 * (colours // 2)]])
    return palette


def save(picture: Any, path: Path) -> None:
    """As a PNG of at most `LARGEST_BYTES`: fewer colours first, then fewer pixels."""
    from PIL import Image

    image = Image.fromarray(picture[..., :3])
    for colours, scale in ((256, 1.0), (128, 1.0), (128, 0.85), (64, 0.85), (64, 0.7), (32, 0.6)):
        size = (round(image.width * scale), round(image.height * scale))
        small = image.resize(size, Image.Resampling.LANCZOS)
        small = small.quantize(palette=palette_of(small, colours), dither=Image.Dither.NONE)
        stream = io.BytesIO()
        small.save(stream, format="PNG", optimize=True)
        if stream.tell() <= LARGEST_BYTES:
            break
    path.write_bytes(stream.getvalue())
    logging.getLogger("pictures").warning("%s %.0f kB", path, stream.tell() / 1000)


def earlier_study(ct: Path, centre_mm: tuple[float, float, float], folder: Path) -> Path:
    """A DICOM series that is the CT as it might have been `DAYS` before: moved, and one nodule smaller.

    The nodule is shrunk about its centre; the change fades out within 30 mm, so that all around it stays continuous.
    """
    from dataclasses import replace
    from datetime import datetime, timedelta

    import numpy as np
    from scipy.ndimage import map_coordinates

    from imaging import read_volume
    from imaging.geometry import Grid
    from imaging.simulation.dicom_series import SeriesOptions, write_series

    volume = read_volume(ct)
    grid, array = volume.grid, np.array(volume.array)
    middle, reach = np.rint(grid.to_index(centre_mm)).astype(int), np.ceil(30 / np.asarray(grid.spacing_mm)).astype(int)
    box = tuple(slice(max(0, m - r), m + r + 1) for m, r in zip(middle, reach, strict=True))
    index = np.stack(
        np.meshgrid(*(np.arange(s.start, min(s.stop, n)) for s, n in zip(box, array.shape, strict=True)), indexing="ij")
    )
    away = index - grid.to_index(centre_mm)[:, None, None, None]
    distance = np.linalg.norm(away * np.asarray(grid.spacing_mm)[:, None, None, None], axis=0)
    fade = np.clip((30 - distance) / 18, 0, 1)
    array[box] = map_coordinates(
        volume.array, index + away * fade * (1 / EARLIER_DIAMETER - 1), order=1, mode="nearest"
    )
    header = volume.origin.header if volume.origin else None
    date = str(header.get("StudyDate", "") or "20260401") if header is not None else "20260401"
    before = (datetime.strptime(date, "%Y%m%d") - timedelta(days=DAYS)).strftime("%Y%m%d")
    patient = str(header.get("PatientID", "")) if header is not None else ""
    kernel = (volume.origin.convolution_kernel if volume.origin else None) or ""
    named = {"StudyDate": before, "PatientBirthDate": "", "PatientSex": ""}
    options = SeriesOptions(
        key="earlier", study_key="earlier", frame_key="earlier", patient_id=patient, kernel=kernel, attributes=named
    )
    write_series(
        replace(volume, array=array, grid=Grid(grid.shape, np.asarray(MOVED) @ grid.affine)),
        folder,
        options=options,
        rng=np.random.default_rng(1),
    )
    return folder


def take_comparison(out: Path, ct: Path, result: Path, scratch: Path) -> None:
    """Both studies side by side, the crosshair on the nodule that has grown."""
    import napari
    from qtpy.QtWidgets import QApplication

    from pipelines.predict import predict_to_folder
    from pipelines.viewer.comparison import compare, prepare
    from pipelines.viewer.docking import dock
    from pipelines.viewer.opening import open_session
    from pipelines.viewer.window import arrange, show

    session = open_session(ct, result, reviewer="Dr. A. Reader")
    largest = max(session.findings, key=lambda row: row.finding.diameter_mm or 0.0)
    other = earlier_study(ct, largest.finding.centre_mm, scratch / "earlier")
    if not (scratch / "earlier-result").is_dir():
        predict_to_folder(other, scratch / "earlier-result", formats=("json", "csv", "maps"))
    beside = prepare(session, other, scratch / "earlier-result")
    viewer = napari.Viewer(title="nodulus", show=True)
    show(viewer, session)
    panel = dock(viewer, "compare")
    panel.adopt(compare(session, beside))
    arrange(viewer)
    session.select(largest.finding.tracking_uid)
    viewer.scene.camera.zoom *= 1.6
    for _ in range(10):
        QApplication.processEvents()
    save(viewer.screenshot(canvas_only=False, flash=False), out / "napari-compare.png")
    viewer.close()


def take(out: Path, ct: Path, result: Path) -> None:
    """Open the viewer, do what the guide describes, and keep a picture of each step."""
    import napari
    from qtpy.QtWidgets import QApplication

    from pipelines.viewer.opening import open_session
    from pipelines.viewer.window import arrange, show

    viewer = napari.Viewer(title="nodulus", show=True)
    session = open_session(ct, result, reviewer="Dr. A. Reader")
    panel = show(viewer, session)
    arrange(viewer)
    cockpit = panel.cockpit

    def shot(name: str, *, whole: bool = True) -> None:
        for _ in range(5):
            QApplication.processEvents()
        save(viewer.screenshot(canvas_only=not whole, flash=False), out / name)

    largest = max(session.findings, key=lambda row: row.finding.diameter_mm or 0.0)
    session.select(largest.finding.tracking_uid)
    shot("napari-findings.png")
    cockpit.accept()
    cockpit.coronal()
    shot("napari-coronal.png")
    cockpit.sagittal()
    cockpit.window_mediastinum()
    shot("napari-sagittal.png", whole=False)
    cockpit.window_lung()
    cockpit.axial()
    cockpit.slab()
    cockpit.slab()
    cockpit.hide_ai()
    shot("napari-slab.png", whole=False)
    cockpit.hide_ai()
    cockpit.slab()
    cockpit.slab()
    cockpit.volume_3d()
    shot("napari-3d.png", whole=False)
    viewer.close()


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--result", type=Path, help="a result folder of this CT; made anew without it")
    parser.add_argument("--only", choices=("reading", "comparison"), help="only these pictures")
    parser.add_argument("--out", type=Path, default=HERE / "images")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["NODULUS_HOME"] = scratch
        options.out.mkdir(parents=True, exist_ok=True)
        ct = the_ct(Path(scratch))
        result = the_result(ct, options.result, Path(scratch))
        (result / "review.jsonl").unlink(missing_ok=True)
        if options.only != "comparison":
            take(options.out, ct, result)
        if options.only != "reading":
            take_comparison(options.out, ct, result, Path(scratch))
        (result / "review.jsonl").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
