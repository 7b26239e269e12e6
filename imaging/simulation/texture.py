"""What is too small to draw in the lungs: vessels and lobules below a voxel, as waves in space and as grain."""

from __future__ import annotations

import numpy as np

from imaging.simulation.shapes import Axes, Field


class Texture:
    """Waves of many lengths and directions, which stand still in space from slice to slice."""

    def __init__(self, rng: np.random.Generator) -> None:
        lengths = np.exp(rng.uniform(np.log(5.0), np.log(60.0), 14))
        directions = rng.normal(size=(14, 3))
        self.waves = (
            2 * np.pi / lengths[:, None] * directions / np.linalg.norm(directions, axis=1, keepdims=True)
        ).astype(np.float32)
        self.phases = rng.uniform(0, 2 * np.pi, 14).astype(np.float32)

    @staticmethod
    def grain(shape: tuple[int, ...], pixel_mm: tuple[float, ...], rng: np.random.Generator) -> Field:
        """HU to add to one slice of lung: grain of 2 to 3 mm, standard deviation about 26."""
        from scipy.ndimage import gaussian_filter

        noise: Field = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), [1.0 / p for p in pixel_mm])
        return noise * np.float32(26.0 / max(float(noise.std()), 1e-6))

    def of(self, at: Axes) -> Field:
        """HU to add; standard deviation about 14."""
        total: Field = np.zeros(np.broadcast_shapes(at.x.shape, at.y.shape), dtype=np.float32)
        for (kx, ky, kz), phase in zip(self.waves, self.phases, strict=True):
            across, down = kx * at.x, ky * at.y + (kz * at.z + phase)
            total += (np.sin(across) * np.cos(down) + np.cos(across) * np.sin(down)).astype(np.float32)
        return total * np.float32(5.3)
