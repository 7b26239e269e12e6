"""The frozen lists and the crops beside the checkout: read as their own notes say."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.crops import CropSet
from benchmarks.lidc_data import LidcCrops, frozen_list

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def folder(shared_data):
    return shared_data / "lidc_crops"


def test_a_changed_list_is_refused(folder, tmp_path):
    (tmp_path / "crops_val.csv").write_bytes((folder / "crops_val.csv").read_bytes() + b"\n")
    with pytest.raises(SystemExit, match="not the frozen list"):
        frozen_list("crops_val.csv", tmp_path)


def test_every_nodule_of_the_crops_lies_in_its_stack_and_mostly_in_the_guessed_lung(folder):
    crops = CropSet.read("val", folder)
    assert len(crops.stacks) == 122
    inside = []
    for stack, centre in zip(crops.stacks, crops.truth.points_mm, strict=True):
        assert stack.volume.grid.contains(centre)
        index = tuple(np.rint(stack.volume.grid.to_index(centre)).astype(int))
        inside.append(stack.lungs.labels[index] > 0)
    assert np.mean(inside) > 0.98


def test_a_stack_agrees_with_a_slow_reading_of_the_same_rows(folder):
    crops = LidcCrops(folder)
    line = frozen_list("windows_val.csv", folder).iloc[0]
    stack = crops.stack(line.patient, line.nodule)
    at = stack.slice_of(line.row)
    row = crops.index.iloc[line.row]
    import jpeg_ls

    stored = (folder / "crops.jls").read_bytes()[row.offset : row.offset + row.length]
    hu = jpeg_ls.decode(np.frombuffer(stored, np.uint8)).astype(float) * row.hu_slope + row.hu_intercept
    np.testing.assert_allclose(stack.volume.array[at], hu, atol=0.01)
    assert stack.volume.grid.to_mm((at, 0, 0))[2] == pytest.approx(row.z_mm)
    assert stack.readers[at].max() <= 4
    assert (stack.readers[at] > 0).sum() == np.unpackbits(crops._masks[line.row], axis=-1).any(axis=0).sum()
