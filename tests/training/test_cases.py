"""What training may see: an image, its labels, and nothing that says where."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from imaging.errors import InputError
from imaging.training.bags import Bag
from imaging.training.cases import CaseSet, cases_sha256
from imaging.training.manifest import ManifestRow
from imaging.training.stacked import StackedImages


def test_no_field_for_a_place():
    """A new field is a deliberate act: it has to pass here."""
    assert [f.name for f in fields(CaseSet)] == ["images", "labels", "concepts", "collection", "collections"]
    assert [f.name for f in fields(Bag)] == ["windows", "labels"]
    said = ["path", "line", "split", "label", "attributes", "series", "said"]
    assert [f.name for f in fields(ManifestRow)] == said


def test_the_training_room_opens_no_truth():
    import imaging.training

    for source in Path(imaging.training.__path__[0]).glob("*.py"):
        text = source.read_text(encoding="utf-8")
        assert not any(word in text for word in ("outlines", "annotations.csv", "truth.csv", "nodules.csv")), source


def test_saved_and_loaded(tmp_path, some_cases):
    cases = some_cases(6, seed=0)
    cases.save(tmp_path)
    again = CaseSet.load(tmp_path)
    assert np.array_equal(again.images, cases.images)
    assert np.array_equal(again.labels, cases.labels, equal_nan=True)
    assert (again.concepts, again.collections) == (cases.concepts, cases.collections)
    before = cases_sha256(tmp_path)
    some_cases(6, seed=1).save(tmp_path)
    changed = {name for name, value in cases_sha256(tmp_path).items() if value != before[name]}
    assert changed == {"images.npy"}


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "collections.npy", "cases.json"])
def test_a_missing_or_cut_file_is_refused(tmp_path, some_cases, name):
    some_cases(6, seed=0).save(tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:9])
    with pytest.raises(InputError) as caught:
        CaseSet.load(tmp_path)
    assert caught.value.code == "cases.layout"


def test_arrays_that_do_not_fit_are_refused(some_cases):
    cases = some_cases(6, seed=0)
    with pytest.raises(InputError) as caught:
        CaseSet(cases.images, cases.labels[:5], cases.concepts, cases.collection, cases.collections)
    assert caught.value.code == "cases.layout"
    other = CaseSet(cases.images, cases.labels[:, :1], ("nodule",), cases.collection, cases.collections)
    with pytest.raises(InputError) as caught:
        CaseSet.joined([cases, other])
    assert caught.value.code == "cases.layout"


def test_joined_sets_keep_their_collections(some_cases):
    joined = CaseSet.joined(
        [some_cases(4, seed=0, name="a"), some_cases(2, seed=1, name="b"), some_cases(2, seed=2, name="a")]
    )
    assert joined.collections == ("a", "b")
    assert joined.collection.tolist() == [0, 0, 0, 0, 1, 1, 0, 0]


def test_stacked_images_index_like_their_concatenation():
    rng = np.random.default_rng(0)
    parts = [rng.integers(0, 255, (n, 2, 3, 3)).astype(np.uint8) for n in (3, 0, 4)]
    whole, stacked = np.concatenate(parts), StackedImages(parts)
    assert (stacked.shape, stacked.ndim, len(stacked)) == (whole.shape, 4, 7)
    assert np.array_equal(np.asarray(stacked), whole)
    for index in (slice(1, 5), slice(None, None, -2), np.array([6, 0, 3, 3]), np.array([], int)):
        assert np.array_equal(stacked[index], whole[index])
    with pytest.raises(ValueError, match="one shape"):
        StackedImages([parts[0], parts[0][:, :1]])
