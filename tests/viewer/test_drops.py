"""What falls on the window and is no scan: refused in our panel in the loader's words, and the CT is seen as before."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from imaging import read_volume
from imaging.errors import ImagingError
from imaging.io.nifti import write_nifti

if not os.environ.get("NODULUS_REQUIRE_ALL"):
    pytest.importorskip("napari")

pytestmark = pytest.mark.gui


@pytest.fixture(
    params=["picture", "text", "table", "empty folder", "folder of pictures", "zip without a CT", "no name"]
)
def no_scan(request, tmp_path):
    """A path that napari would open, ask about or refuse with a dialog of its own."""
    from imageio.v3 import imwrite

    picture = np.zeros((300, 8, 3), np.uint8)
    folder = tmp_path / "dropped"
    folder.mkdir()
    if request.param == "picture":
        imwrite(path := folder / "photo.png", picture)
    elif request.param == "text":
        (path := folder / "letter.txt").write_text("Dear colleague")
    elif request.param == "table":
        (path := folder / "points.csv").write_text("index,axis-0,axis-1\n0,1,2\n")
    elif request.param == "no name":
        (path := folder / "README").write_text("Dear colleague")
    elif request.param == "zip without a CT":
        (folder / "letter.txt").write_text("Dear colleague")
        path = tmp_path / "letters.zip"
        shutil.make_archive(str(tmp_path / "letters"), "zip", folder)
    else:
        path = folder
        if request.param == "folder of pictures":
            imwrite(folder / "photo.png", picture)
    return path


def what_is_seen(desk):
    dims, camera = desk.viewer.dims, desk.viewer.scene.camera
    layers = [(layer.name, layer.visible) for layer in desk.viewer.layers]
    return layers, dims.range, dims.point, dims.order, camera.center, camera.zoom, desk.session.point_mm


def no_dialog():
    from qtpy.QtWidgets import QApplication

    return QApplication.activeModalWidget() is None


def words_of_the_loader(path):
    with pytest.raises(ImagingError) as refusal:
        read_volume(path)
    return str(refusal.value)


def test_what_is_no_scan_is_refused_in_the_panel_and_the_ct_is_seen_as_before(desk, no_scan):
    desk.press("N")
    before = what_is_seen(desk)
    desk.drop(no_scan)
    desk.qtbot.wait(50)
    assert no_dialog()
    assert desk.panel.message.isVisible()
    assert desk.panel.message.text() == words_of_the_loader(no_scan)
    assert desk.panel.session is desk.session
    assert what_is_seen(desk) == before


def test_without_a_ct_it_is_refused_in_the_panel_too(desk, tmp_path):
    (tmp_path / "letter.txt").write_text("Dear colleague")
    desk.panel.leave()
    desk.drop(tmp_path / "letter.txt")
    assert no_dialog()
    assert desk.panel.message.text() == words_of_the_loader(tmp_path / "letter.txt")
    assert len(desk.viewer.layers) == 0


def test_among_several_the_ct_opens_and_the_refusal_of_the_other_still_stands(desk, tmp_path, volume):
    write_nifti(volume.array, volume.grid, tmp_path / "ct.nii.gz")
    (tmp_path / "letter.txt").write_text("Dear colleague")
    desk.drop(tmp_path / "letter.txt", tmp_path / "ct.nii.gz")
    assert desk.panel.session.source == tmp_path / "ct.nii.gz"
    assert desk.panel.message.text() == words_of_the_loader(tmp_path / "letter.txt")


def test_an_address_in_the_net_is_refused_and_not_fetched(desk):
    before = what_is_seen(desk)
    drop_on(desk.panel, "https://example.org/ct.zip")
    assert "input.missing" in desk.panel.message.text()
    assert "https://example.org/ct.zip" in desk.panel.message.text()
    assert what_is_seen(desk) == before


def drop_on(widget, *addresses, modifier=None):
    """Returns whether the widget said that it takes them."""
    from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
    from qtpy.QtGui import QDragEnterEvent, QDropEvent
    from qtpy.QtWidgets import QApplication

    mime = QMimeData()
    mime.setUrls([QUrl.fromUserInput(str(address)) for address in addresses])
    left, copy = Qt.MouseButton.LeftButton, Qt.DropAction.CopyAction
    modifier = modifier or Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(QPoint(5, 5), copy, mime, left, modifier)
    QApplication.sendEvent(widget, enter)
    QApplication.sendEvent(widget, QDropEvent(QPointF(5, 5), copy, mime, left, modifier))
    QApplication.processEvents()
    return enter.isAccepted()


def test_what_falls_on_the_panel_is_opened_too(desk, tmp_path, volume):
    write_nifti(volume.array, volume.grid, tmp_path / "ct.nii.gz")
    assert drop_on(desk.panel, tmp_path / "ct.nii.gz")
    assert desk.panel.session.source == tmp_path / "ct.nii.gz"
    for field in (desk.panel.comment, desk.panel.reviewer, desk.panel.finder.prompt):
        assert not field.acceptDrops(), "a path is no text"


def test_a_refusal_brings_a_hidden_panel_back(desk, tmp_path):
    from qtpy.QtWidgets import QDockWidget

    dock = next(one for one in desk.panel.window().findChildren(QDockWidget) if one.isAncestorOf(desk.panel))
    dock.hide()
    (tmp_path / "letter.txt").write_text("Dear colleague")
    desk.drop(tmp_path / "letter.txt")
    assert desk.panel.message.isVisible()


def test_with_alt_a_drop_on_the_picture_is_naparis(desk, tmp_path, monkeypatch):
    """napari says in its status line that Alt lets the reader choose a plugin."""
    from imageio.v3 import imwrite
    from qtpy.QtCore import Qt

    imwrite(tmp_path / "photo.png", np.zeros((8, 8, 3), np.uint8))
    target = desk.canvas
    while not target.acceptDrops():
        target = target.parentWidget()
    drop_on(target, tmp_path / "photo.png", modifier=Qt.KeyboardModifier.AltModifier)
    desk.qtbot.wait(50)
    assert desk.panel.message.text() == ""
    assert "photo" in [layer.name for layer in desk.viewer.layers]
    desk.viewer.layers.remove("photo")


def test_without_the_panel_a_drop_is_naparis(desk, tmp_path):
    from imageio.v3 import imwrite

    from pipelines.viewer.docking import dock_panel

    imwrite(tmp_path / "photo.png", np.zeros((8, 8, 3), np.uint8))
    picture = desk.canvas
    while not picture.acceptDrops():
        picture = picture.parentWidget()
    first = desk.panel
    first.leave()
    desk.viewer.window.remove_dock_widget(first)
    desk.settle()
    drop_on(picture, tmp_path / "photo.png")
    assert "photo" in [layer.name for layer in desk.viewer.layers]
    desk.viewer.layers.remove("photo")
    desk.panel = dock_panel(desk.viewer)
