"""The organs of the phantom thorax as implicit shapes in millimetres: x to the left, y to the back, z to the head.

The origin lies in the middle of the chest, a little below the fork of the windpipe. Numbers are those of a grown
patient and vary with the generator. Everything is smooth, so it is worked out on a coarse lattice and interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from imaging.simulation.shapes import Axes, Field, ellipsoid, smooth_union, superellipse, tubes

Points = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Body:
    """All shapes of one patient.

    Args:
        layers: painted in this order: field (positive inside), HU, thickness of a dense rim in mm and its HU.
        right, left: the lungs.
        wall: positive inside the chest wall; where it nearly equals a lung's depth, that lung's surface is costal.
        fissures: surfaces inside the lungs, as fields that cross 0 there.
        roots: where vessels and bronchi enter each lung: (right, left), in (x, y, z).
    """

    layers: list[tuple[Field, float, float, float]]
    right: Field
    left: Field
    wall: Field
    fissures: list[Field]
    roots: tuple[Points, Points]
    trachea: list[Points] = field(default_factory=list)


@dataclass(frozen=True)
class Build:
    """What differs from patient to patient; lengths in mm."""

    width: float
    depth: float
    fat: float
    heart: float
    dome: tuple[float, float]
    blood_hu: float
    lean: float

    @classmethod
    def random(cls, rng: np.random.Generator, blood_hu: float | None) -> Build:
        """One patient."""
        return cls(
            width=float(rng.uniform(126, 137)),
            depth=float(rng.uniform(88, 98)),
            fat=float(rng.uniform(8, 18)),
            heart=float(rng.uniform(0.92, 1.08)),
            dome=(float(rng.uniform(-44, -28)), float(rng.uniform(-56, -40))),
            blood_hu=float(rng.choice([45.0, 160.0]) + rng.uniform(-5, 25)) if blood_hu is None else blood_hu,
            lean=float(rng.uniform(-0.02, 0.02)),
        )


def make_body(at: Axes, build: Build, rng: np.random.Generator) -> Body:
    """All shapes on the lattice `at`."""
    wall = _chest_wall(at, build)
    middle, vessels = _mediastinum(at, build)
    right, left = (_lung(at, build, wall, middle, side) for side in (-1, 1))
    # Nothing living is quite smooth.
    wobble = _wobble(at, rng)
    right, left = right + wobble, left + wobble
    layers = [
        *_outside(at, build, wall),
        *_abdomen(at, build, wall, rng),
        *_heart(at, build),
        *vessels,
        *_bones(at, build),
    ]
    fissures = [_right_oblique(at), _horizontal(at), _left_oblique(at)]
    roots = (np.array([-34.0, 8.0, 4.0]), np.array([36.0, 10.0, 8.0]))
    return Body(layers, right, left, wall, fissures, roots, _airway_lines())


def _wobble(at: Axes, rng: np.random.Generator) -> Field:
    total = np.zeros((at.z.shape[0], at.y.shape[1], at.x.shape[2]), dtype=np.float32)
    for _ in range(8):
        kx, ky, kz = rng.normal(size=3) / 14.0
        total += np.sin(at.x * kx + at.y * ky + at.z * kz + rng.uniform(0, 6.28)).astype(np.float32)
    return total * np.float32(0.45)


def _chest_wall(at: Axes, build: Build) -> Field:
    """The inside of the rib cage: wide at the base, closing towards the apex, and open below."""
    up = np.clip((at.z - 10.0) / 118.0, 0.0, 1.0)
    shrink = np.sqrt(np.clip(1.0 - up**3.2, 0.02, 1.0))
    centre_y = 8.0 + 20.0 * up**2 + build.lean * at.z
    field: Field = superellipse(at, (0.0, centre_y), (build.width * (0.45 + 0.55 * shrink), build.depth * shrink), 2.35)
    return field


def _mediastinum(at: Axes, build: Build) -> tuple[Field, list[tuple[Field, float, float, float]]]:
    """The middle of the chest, which is not lung, and the vessels in it."""
    waist = 5.0 + 21.0 * np.exp(-(((at.y - 2.0) / 36.0) ** 2)) + 14.0 * np.exp(-(((at.y - 75.0) / 30.0) ** 2))
    waist = waist + 10.0 * np.clip((at.z - 45.0) / 60.0, 0.0, 1.0)
    middle: Field = (waist - np.abs(at.x - 3.0)).astype(np.float32) + 0.0 * at.z
    middle = smooth_union(middle, ellipsoid(at, (20.0, -16.0, -42.0), tuple(r * build.heart for r in (60, 52, 60))))  # type: ignore[arg-type]
    middle = smooth_union(middle, superellipse(at, (0.0, 84.0), (32.0, 32.0), 2.0))
    aorta = np.array([[-14, -22, -10], [-16, -24, 20], [-10, -18, 42], [4, 0, 52], [16, 24, 48], [20, 48, 34]], float)
    down = np.array([[20, 48, 34], [22, 54, 0], [18, 56, -60], [10, 54, -140]], float)
    cava = np.array([[-28, -8, 75], [-30, -8, 30], [-30, -4, -10]], float)
    trunk = np.array([[12, -34, -8], [16, -24, 12], [24, -4, 18], [36, 8, 10]], float)
    right_artery = np.array([[10, -10, 16], [-10, -2, 10], [-34, 6, 4]], float)
    arteries = [(aorta, 15.0), (down, 12.0), (cava, 9.0), (trunk, 13.0), (right_artery, 10.0)]
    branches = [np.array([[4, 0, 52], [-12, -8, 80], [-26, -4, 120]], float)]
    branches += [
        np.array([[8, 4, 54], [12, 4, 85], [24, 4, 125]], float),
        np.array([[14, 18, 52], [26, 20, 120]], float),
    ]
    layers = []
    for line, radius in arteries + [(b, 5.0) for b in branches]:
        tube = tubes(at, [line], radius, 30.0)
        middle = smooth_union(middle, tube - 12.0 * (radius < 6.0) + 1.0, 4.0)
        layers.append((tube, build.blood_hu, 0.0, 0.0))
    gullet = tubes(at, [np.array([[4, 44, 130], [6, 42, 20], [10, 36, -110]], float)], 7.0)
    layers.append((gullet, 35.0, 0.0, 0.0))
    for root in ((-42.0, 10.0, 2.0), (44.0, 12.0, 6.0)):
        middle = smooth_union(middle, ellipsoid(at, root, (15.0, 14.0, 20.0)), 4.0)
    return middle, layers


def _lung(at: Axes, build: Build, wall: Field, middle: Field, side: int) -> Field:
    """One lung: inside the chest wall, outside the middle, above its half of the diaphragm, with a domed apex."""
    top = build.dome[0] if side < 0 else build.dome[1]
    bowl = ((at.x - side * 66.0) / 84.0) ** 2 + ((at.y + 14.0) / 100.0) ** 2
    diaphragm = top - 74.0 * np.clip(bowl, 0.0, 1.25)
    above = (at.z - diaphragm) * np.float32(0.62)
    lifted = np.maximum(at.z + 5.0, 0.0) / 128.0
    apex = 1.0 - np.sqrt(((at.x - side * 58.0) / 84.0) ** 2 + ((at.y - 12.0) / 112.0) ** 2 + lifted**2)
    own = np.minimum(np.minimum(wall, apex * np.float32(78.0)), -middle)
    field: Field = np.minimum(np.minimum(own, above), side * (at.x - 3.0) - 1.5).astype(np.float32)
    return field


def _outside(at: Axes, build: Build, wall: Field) -> list[tuple[Field, float, float, float]]:
    """Table, fat, muscle, and the inside of the trunk."""
    bulk = 27.0 + build.fat
    shoulders = 26.0 * np.clip((at.z - 60.0) / 60.0, 0.0, 1.0)
    size = (build.width + bulk + 4.0 + shoulders, build.depth + bulk - 6.0 - 0.25 * shoulders)
    skin = superellipse(at, (0.0, 8.0), size, 2.5)
    muscle = superellipse(at, (0.0, 10.0), (size[0] - build.fat - 6.0, size[1] - 0.8 * build.fat), 2.4)
    table = np.abs(np.hypot(at.x, at.y + 260.0) - (260.0 + build.depth + bulk + 14.0))
    plate = np.where(np.abs(at.x) < 205.0, 9.0 - table, -9.0).astype(np.float32) + 0.0 * at.z
    return [
        (plate, -960.0, 2.0, -150.0),
        (skin, -105.0, 1.6, 0.0),
        (muscle, 52.0, 0.0, 0.0),
        (wall - 1.5, -95.0, 0.0, 0.0),
    ]


def _abdomen(at: Axes, build: Build, wall: Field, rng: np.random.Generator) -> list[tuple[Field, float, float, float]]:
    """Liver, spleen and a stomach with gas, under the diaphragm."""
    below = [
        top - 3.0 - 74.0 * (((at.x - s * 66.0) / 84.0) ** 2 + ((at.y + 14.0) / 100.0) ** 2)
        for s, top in zip((-1, 1), build.dome, strict=True)
    ]
    under_right = np.minimum(wall - 3.0, (below[0] - at.z) * np.float32(0.62))
    under_left = np.minimum(wall - 3.0, (below[1] - at.z) * np.float32(0.62))
    enhanced = 50.0 if build.blood_hu > 100 else 0.0
    liver = np.minimum(under_right, 55.0 - at.x - 0.25 * (at.z + 60.0)).astype(np.float32)
    spleen = np.minimum(under_left, ellipsoid(at, (92.0, 50.0, -110.0), (42.0, 46.0, 48.0)))
    stomach = np.minimum(under_left - 3.0, ellipsoid(at, (55.0, -15.0, -112.0), (42.0, 46.0, 40.0)))
    gas = np.minimum(stomach - 3.0, -32.0 - at.y)
    return [
        (liver, 58.0 + enhanced, 0.0, 0.0),
        (spleen, 50.0 + enhanced, 0.0, 0.0),
        (stomach, 20.0, 0.0, 0.0),
        (gas.astype(np.float32), -990.0, 0.0, 0.0),
    ]


def _heart(at: Axes, build: Build) -> list[tuple[Field, float, float, float]]:
    """Muscle in a coat of fat, with the chambers' blood."""
    whole = ellipsoid(at, (20.0, -16.0, -40.0), tuple(r * build.heart for r in (55, 46, 54)))  # type: ignore[arg-type]
    left = ellipsoid(at, (42.0, -18.0, -48.0), (22.0, 24.0, 34.0))
    right = ellipsoid(at, (-4.0, -28.0, -44.0), (24.0, 26.0, 36.0))
    atrium = ellipsoid(at, (6.0, 20.0, -18.0), (30.0, 18.0, 22.0))
    blood = build.blood_hu
    return [(whole, 55.0 + 0.3 * (blood - 45.0), 0.0, 0.0), *((c, blood, 0.0, 0.0) for c in (left, right, atrium))]


# --- bones -----------------------------------------------------------------------------------------------------------
def _bones(at: Axes, build: Build) -> list[tuple[Field, float, float, float]]:
    """Spine, ribs, breastbone, collar bones, shoulder blades."""
    spine = superellipse(at, (0.0, 76.0), (19.0, 15.0), 2.2) - (2.0 - 2.0 * np.cos(at.z * (2 * np.pi / 27.0)))
    canal = superellipse(at, (0.0, 99.0), (10.0, 8.5), 2.0) + 0.0 * at.z
    arch = (
        np.minimum(superellipse(at, (0.0, 103.0), (19.0, 15.0), 2.0), -canal)
        + 2.5 * np.cos(at.z * (2 * np.pi / 27.0))
        - 1.5
    )
    spinous = tubes(at, [np.array([[0, 112, z], [0, 130, z - 16]], float) for z in range(-160, 170, 27)], 4.0)
    breast = np.minimum(
        superellipse(at, (0.0, 0.0), (17.0, build.depth + 9.0), 2.3),
        -at.y - build.depth + 9.0 + 0.22 * np.maximum(at.z - 10.0, 0),
    )
    breast = np.minimum(breast, 6.0 - np.abs(at.y + build.depth - 3.0 - 0.22 * np.maximum(at.z - 10.0, 0.0)))
    breast = np.minimum(breast, at.z + 60.0)
    ribs = tubes(at, _rib_lines(build), 5.6)
    collar = tubes(
        at, [np.array([[s * 18, -66, 92], [s * 70, -52, 112], [s * 150, -8, 128]], float) for s in (-1, 1)], 6.5
    )
    blades = [ellipsoid(at, (s * 102.0, 92.0, 60.0), (45.0, 9.0, 75.0)) for s in (-1, 1)]
    heads = [ellipsoid(at, (s * 172.0, 15.0, 135.0), (24.0, 24.0, 26.0)) for s in (-1, 1)]
    cortical = [(spine, 1.8), (arch, 2.2), (spinous, 1.5), (ribs, 1.7), (collar, 1.8), (breast, 1.2)]
    cortical += [(b, 2.0) for b in blades] + [(h, 2.0) for h in heads]
    bones = [(f.astype(np.float32), 170.0, rim, 620.0) for f, rim in cortical]
    return [*bones, (canal.astype(np.float32), 25.0, 0.0, 0.0)]


def _rib_lines(build: Build) -> list[Points]:
    """Twelve pairs of ribs: from the spine around the chest wall, sloping down to the front."""
    lines = []
    for number in range(12):
        head = 122.0 - 22.0 * number
        up = np.clip((head - 28.0) / 118.0, 0.0, 1.0)
        shrink = np.sqrt(max(1.0 - up**3.2, 0.08))
        wide, deep = build.width * (0.45 + 0.55 * shrink) + 9.0, build.depth * shrink + 9.0
        centre_y = 8.0 + 20.0 * up**2
        last = np.deg2rad(155.0 if number < 9 else 110.0 - 15 * (number - 9))
        turn = np.linspace(np.deg2rad(14.0), last, 26)
        drop = 62.0 * (turn / np.pi) ** 1.2 * min(1.0, 0.5 + number / 8)
        power = 2.0 / 2.35
        x = wide * np.abs(np.sin(turn)) ** power
        y = centre_y + deep * np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** power
        lines += [np.stack([s * x, y, head - drop], axis=1) for s in (-1, 1)]
    return lines


# --- airways and fissures --------------------------------------------------------------------------------------------
def _airway_lines() -> list[Points]:
    """Windpipe, right and left main bronchus."""
    fork = np.array([0.0, 16.0, 24.0])
    trachea = np.array([[2, 6, 150], [0, 10, 70], fork], float)
    return [
        trachea,
        np.array([fork, [-22, 14, 10], [-40, 12, 2]], float),
        np.array([fork, [20, 18, 10], [42, 16, 4]], float),
    ]


def _right_oblique(at: Axes) -> Field:
    return ((at.z + 8.0 - 0.95 * at.y - 6.0 * np.sin(at.x / 40.0)) * np.float32(0.72)).astype(np.float32)


def _left_oblique(at: Axes) -> Field:
    return ((at.z + 2.0 - 1.05 * at.y - 5.0 * np.sin(at.x / 35.0)) * np.float32(0.69)).astype(np.float32)


def _horizontal(at: Axes) -> Field:
    return (at.z + 4.0 + 0.12 * at.y - 4.0 * np.sin(at.x / 30.0)).astype(np.float32)
