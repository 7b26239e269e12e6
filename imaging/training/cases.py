"""What training may see: images, their image-level labels, and which collection they came from. No field for a place.

A `CaseSet` on disk is a folder with ``images.npy``, ``labels.npy``, ``collections.npy`` and ``cases.json``. Truth for
evaluation lies elsewhere; nothing in this module can open it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imaging.errors import InputError
from imaging.provenance import file_sha256


@dataclass(frozen=True, eq=False)
class CaseSet:
    """Windows and what is known of each as a whole.

    Args:
        images: uint8 (n, slices, height, width), as `imaging.models.intensity.to_bytes` makes them.
        labels: float32 (n, concepts): probability that the concept is in the image; NaN where nobody said.
        concepts: what the columns of `labels` mean; the first is ``nodule``.
        collection: (n,) index into `collections`.
        collections: names of where images came from (``lidc``, ``simulated`` ...).

    Raises:
        InputError: ``cases.layout`` if the arrays do not fit together.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.float32]
    concepts: tuple[str, ...]
    collection: npt.NDArray[np.uint8]
    collections: tuple[str, ...]

    def __post_init__(self) -> None:
        n = len(self.images)
        fits = self.images.ndim == 4 and self.labels.shape == (n, len(self.concepts)) and self.collection.shape == (n,)
        if not fits:
            raise InputError(
                "cases.layout",
                f"images {self.images.shape}, labels {self.labels.shape} for {len(self.concepts)} concepts and "
                f"collections {self.collection.shape} do not fit together",
            )

    def __len__(self) -> int:
        return len(self.images)

    def save(self, folder: Path) -> None:
        """Write the set into `folder`, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "images.npy", self.images)
        np.save(folder / "labels.npy", self.labels)
        np.save(folder / "collections.npy", self.collection)
        head = {"schema_version": 1, "concepts": list(self.concepts), "collections": list(self.collections)}
        (folder / "cases.json").write_text(json.dumps(head, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> CaseSet:
        """Read a set that `save` wrote; images are mapped, not read, until they are used.

        Raises:
            InputError: ``cases.layout`` if a file is missing or does not fit.
        """
        try:
            head = json.loads((folder / "cases.json").read_text(encoding="utf-8"))
            return cls(
                images=np.load(folder / "images.npy", mmap_mode="r"),
                labels=np.load(folder / "labels.npy"),
                concepts=tuple(head["concepts"]),
                collection=np.load(folder / "collections.npy"),
                collections=tuple(head["collections"]),
            )
        except (OSError, ValueError, KeyError) as error:
            raise InputError("cases.layout", f"cannot read training cases: {error}", where=folder) from error

    @classmethod
    def joined(cls, sets: Sequence[CaseSet]) -> CaseSet:
        """Several sets of the same concepts as one."""
        if len({s.concepts for s in sets}) != 1:
            raise InputError("cases.layout", f"sets of different concepts: {[s.concepts for s in sets]}")
        names = tuple(dict.fromkeys(name for s in sets for name in s.collections))
        places = [np.array([names.index(c) for c in s.collections], np.uint8)[s.collection] for s in sets]
        return cls(
            images=np.concatenate([s.images for s in sets]),
            labels=np.concatenate([s.labels for s in sets]),
            concepts=sets[0].concepts,
            collection=np.concatenate(places),
            collections=names,
        )


def cases_sha256(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a set of cases, for a run's lineage."""
    return {name: file_sha256(folder / name) for name in ("images.npy", "labels.npy", "collections.npy", "cases.json")}
