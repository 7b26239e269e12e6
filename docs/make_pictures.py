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
    parser.add_argument("--out", type=Path, default=HERE / "images")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["NODULUS_HOME"] = scratch
        options.out.mkdir(parents=True, exist_ok=True)
        ct = the_ct(Path(scratch))
        result = the_result(ct, options.result, Path(scratch))
        (result / "review.jsonl").unlink(missing_ok=True)
        take(options.out, ct, result)
        (result / "review.jsonl").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
