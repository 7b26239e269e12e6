"""The plugin in napari's command palette and menus: what is listed, and that it does what its key does."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml

from pipelines.viewer.keys import KEYS

if not os.environ.get("NODULUS_REQUIRE_ALL"):
    pytest.importorskip("napari")

pytestmark = pytest.mark.gui

MANIFEST = yaml.safe_load((Path(__file__).parents[2] / "pipelines" / "viewer" / "napari.yaml").read_text("utf-8"))
COMMANDS = {row["id"]: row for row in MANIFEST["contributions"]["commands"]}
OTHERS = ("open_folder", "open_file", "find_nodules", "export_review", "show_worklist", "compare_with")


@pytest.fixture
def app():
    from napari._app_model import get_app_model

    return get_app_model()


def run(app, name):
    """As a click in the palette or a menu does."""
    return app.commands.execute_command(f"nodulus.{name}").result()


def test_the_manifest_has_a_command_for_each_key_with_its_words():
    for row in KEYS:
        command = COMMANDS[f"nodulus.{row.action}"]
        assert command["title"] == row.meaning[0].upper() + row.meaning[1:]
        assert command["python_name"] == f"pipelines.viewer.commands:{row.action}"
    readers_and_widgets = {f"nodulus.{name}" for name in ("read", "panel", "planes", "worklist", "compare", "sample")}
    assert set(COMMANDS) == readers_and_widgets | {f"nodulus.{name}" for name in (*OTHERS, *(r.action for r in KEYS))}


def test_all_commands_are_in_the_palette_under_the_plugins_name(desk, app):
    listed = {item.command.id: item.command.title for item in app.menus.get_menu(app.menus.COMMAND_PALETTE_ID)}
    for name in (*OTHERS, *(row.action for row in KEYS)):
        assert listed[f"nodulus.{name}"] == f"{COMMANDS[f'nodulus.{name}']['title']} (nodulus)"


def test_the_palette_finds_them_as_a_reader_types(desk):
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QLineEdit

    window = desk.panel.window()
    desk.viewer.window.run_command if hasattr(desk.viewer.window, "run_command") else None
    palette = next(w for w in window.findChildren(object) if type(w).__name__ == "QCommandPalette")
    palette.update_context(window)
    palette.show()
    desk.settle()
    line = palette.findChild(QLineEdit)
    desk.qtbot.keyClicks(line, "mediastinal window")
    desk.settle()
    desk.qtbot.keyClick(line, Qt.Key.Key_Return)
    desk.settle()
    assert desk.session.window_name == "mediastinum"


@pytest.mark.parametrize(
    ("menu", "names"),
    [
        ("napari/file/io_utilities", ("open_folder", "open_file", "export_review")),
        ("napari/layers/segment", ("find_nodules",)),
        ("napari/layers/measure", ("measure",)),
        ("nodulus_visualize", ("window_lung", "invert", "coronal", "slab", "identify")),
        ("nodulus_annotate", ("accept", "reject", "add_missed", "undo")),
    ],
)
def test_menus_hold_them(desk, app, menu, names):
    ids = {item.command.id for item in app.menus.get_menu(menu) if hasattr(item, "command")}
    assert {f"nodulus.{name}" for name in names} <= ids


def test_the_sample_and_the_widgets_are_in_their_menus(desk, app):
    def titles(menu):
        for item in app.menus.get_menu(menu):
            if hasattr(item, "command"):
                yield item.command.title
            else:
                yield from titles(item.submenu)

    assert any("Phantom thorax" in title for title in titles("napari/file/samples"))
    assert {"Reading session", "Other planes", "Worklist"} <= {
        re.sub(r" \(nodulus\)$", "", title) for title in titles("napari/plugins")
    }


def test_commands_do_what_their_keys_do(desk, app):
    run(app, "next_finding")
    assert desk.session.current.finding.number == 1
    run(app, "accept")
    run(app, "next_finding")
    run(app, "reject")
    run(app, "undo")
    assert [row.state for row in desk.session.findings] == ["accepted", "undecided", "undecided"]
    run(app, "window_bone")
    assert desk.session.window_name == "bone"
    run(app, "coronal")
    assert desk.cockpit.plane.name == "coronal"
    run(app, "show_worklist")
    assert any(getattr(w, "nodulus_role", "") == "worklist" for w in desk.viewer.window.dock_widgets.values())


def test_find_nodules_is_the_button(desk, app, qtbot, monkeypatch):
    asked = []
    monkeypatch.setattr(desk.panel.finder, "job", lambda volume, prompt, on_stage: asked.append(volume))
    run(app, "find_nodules")
    qtbot.waitUntil(lambda: not desk.panel.finder.work.running, timeout=5000)
    assert asked == [desk.session.volume]


def test_without_a_ct_a_command_says_so(desk, app):
    desk.panel.leave()
    run(app, "accept")
    assert desk.panel.message.text() == "Open a CT first."
    run(app, "export_review")
    assert "nothing to export" in desk.panel.answered.text()


def test_open_asks_and_opens_and_a_refusal_is_said(desk, app, tmp_path, volume, monkeypatch):
    from qtpy.QtWidgets import QFileDialog

    from imaging.io.nifti import write_nifti

    write_nifti(volume.array, volume.grid, tmp_path / "ct.nii.gz")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / "ct.nii.gz"), ""))
    run(app, "open_file")
    assert desk.panel.session.source == tmp_path / "ct.nii.gz"
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "empty"))
    run(app, "open_folder")
    assert desk.panel.message.text()
    assert desk.panel.session.source == tmp_path / "ct.nii.gz"
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: "")
    run(app, "open_folder")
