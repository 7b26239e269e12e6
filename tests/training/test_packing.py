"""One packed file: what comes out is what went in, a changed byte is a refusal, and there is no place in it."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from imaging.errors import InputError, OutputError
from imaging.training.packing import read_pack, write_pack
from imaging.training.stacked import StackedImages
from pipelines.training_data import gather
from pipelines.training_pack import pack_cases, unpack


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "images": rng.integers(0, 255, (5000, 3, 7, 7)).astype(np.uint8),
        "labels": rng.random((5000, 4)).astype(np.float32),
        "odd": rng.integers(0, 255, 13).astype(np.uint8),
        "none": np.empty((0, 3, 7, 7), np.uint8),
    }


def test_what_is_packed_is_unpacked(tmp_path):
    heard: list[tuple[int, int]] = []
    given = arrays()
    digests = write_pack(tmp_path / "a.safetensors", given, {"a": [1, "é"]}, on_rows=lambda d, t: heard.append((d, t)))
    pack = read_pack(tmp_path / "a.safetensors")
    assert pack.head == {"a": [1, "é"]}
    assert pack.sha256 == digests
    assert heard[-1] == (10013, 10013)
    others = load_file(tmp_path / "a.safetensors")  # by a reader that knows nothing of packs
    for name, array in given.items():
        assert np.array_equal(pack.arrays[name], array)
        assert np.array_equal(others[name], array)
        assert pack.arrays[name].dtype == array.dtype


def test_pieces_that_only_index_like_an_array(tmp_path):
    images = arrays()["images"]
    write_pack(tmp_path / "a.safetensors", {"x": StackedImages([images[:17], images[17:]])}, {})
    assert np.array_equal(read_pack(tmp_path / "a.safetensors").arrays["x"], images)


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_pack(path)
    return caught.value.code


@pytest.mark.parametrize("place", [0.01, 0.5, 0.999])
def test_a_changed_byte_is_a_refusal(tmp_path, place):
    path = tmp_path / "a.safetensors"
    write_pack(path, arrays(), {"a": 1})
    content = bytearray(path.read_bytes())
    head = struct.unpack("<Q", content[:8])[0] + 8
    content[head + int(place * (len(content) - head))] ^= 4
    path.write_bytes(content)
    assert refusal(path) == "cases.pack"
    assert read_pack(path, verify=False).head == {"a": 1}


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    assert refusal(path) == "cases.pack"
    path.write_bytes(b"not a pack")
    assert refusal(path) == "cases.pack"
    save_file({"x": np.zeros(3, np.float32)}, path)
    assert refusal(path) == "cases.pack"
    write_pack(path, arrays(), {})
    path.write_bytes(path.read_bytes()[:-5])
    assert refusal(path) == "cases.pack"
    save_file({"x": np.zeros(3, np.float32)}, path, {"pack_version": "2", "head": "{}", "sha256": '{"x": ""}'})
    assert refusal(path) == "cases.pack"


def test_a_stopped_packing_leaves_nothing(tmp_path):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pack(tmp_path / "a.safetensors", arrays(), {}, on_rows=stop)
    assert list(tmp_path.iterdir()) == []


# --- training cases --------------------------------------------------------------------------------------------------


def test_a_pack_is_what_the_table_is(prepared, tmp_path, vision):
    for name in ("truth.csv", "train/annotations.csv"):
        (prepared / name).write_text("seriesuid,coordX,coordY,coordZ\n1,2,3,4\n", encoding="utf-8")
    (tmp_path / "cases.csv").write_text("path\nprepared\n", encoding="utf-8")
    facts = pack_cases(tmp_path / "cases.csv", tmp_path / "cases.safetensors", config=vision)
    assert facts["windows"] == {"train": 48, "val": 32}
    table, packed = gather(tmp_path / "cases.csv", tmp_path, vision), unpack(tmp_path / "cases.safetensors", vision)
    assert packed.identity == table.identity
    for one, other in ((table.windows, packed.windows), (table.val_windows, packed.val_windows)):
        assert np.array_equal(one[0].images, other[0].images)
        assert np.array_equal(one[0].labels, other[0].labels, equal_nan=True)
        assert np.array_equal(one[0].collection, other[0].collection)
        assert (one[0].concepts, one[0].collections) == (other[0].concepts, other[0].collections)
    folder = pack_cases(prepared, tmp_path / "folder.safetensors", config=vision)
    assert folder["sha256"] == facts["sha256"]


def test_there_is_no_place_path_or_report_in_a_pack(prepared, tmp_path, vision):
    (prepared / "truth.csv").write_text("coordX\n12.5\n", encoding="utf-8")
    pack_cases(prepared, tmp_path / "cases.safetensors", config=vision)
    pack = read_pack(tmp_path / "cases.safetensors")
    assert {name.rpartition(".")[2] for name in pack.arrays} == {"images", "labels", "collection"}
    assert pack.arrays["train.0.labels"].shape == (48, len(pack.head["concepts"]))
    text = json.dumps(pack.head)
    assert "coord" not in text
    assert str(tmp_path) not in text
    assert set(pack.head["sources"][0]) == {"kind", "split", "cases", "sha256"}
    assert "no nodule" in json.dumps(pack.head["sentences"]).lower()


def test_windows_of_another_size_are_refused(prepared, tmp_path, vision):
    from dataclasses import replace

    pack_cases(prepared, tmp_path / "cases.safetensors", config=vision)
    with pytest.raises(InputError) as caught:
        unpack(tmp_path / "cases.safetensors", replace(vision, pixel_mm=0.7))
    assert caught.value.code == "cases.layout"
    write_pack(tmp_path / "other.safetensors", arrays(), {"software": "another"})
    with pytest.raises(InputError) as caught:
        unpack(tmp_path / "other.safetensors", vision)
    assert caught.value.code == "cases.pack"


def test_names_of_packs(prepared, tmp_path, vision):
    with pytest.raises(InputError) as caught:
        pack_cases(prepared, tmp_path / "cases.zip", config=vision)
    assert caught.value.code == "cases.pack"
    (tmp_path / "there.safetensors").write_bytes(b"mine")
    with pytest.raises(OutputError) as caught:
        pack_cases(prepared, tmp_path / "there.safetensors", config=vision)
    assert caught.value.code == "output.exists"
    assert (tmp_path / "there.safetensors").read_bytes() == b"mine"
