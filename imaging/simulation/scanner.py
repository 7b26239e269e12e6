"""What a scanner does to the truth: blur in the plane, correlated noise that follows the body, whole HU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Scanner:
    """A scanner's settings.

    Args:
        blur_mm: full width at half maximum of the point spread in the plane (1.0 sharp to 1.6 soft).
        noise_hu: standard deviation in the middle of the body; about 12 at a standard dose, 40 at a low one.
        grain_mm: size of the noise's grain: 0.6 for a sharp kernel, 1.2 for a soft one.
        air_share: noise outside the body as a share of that in its middle.
    """

    blur_mm: float = 1.1
    noise_hu: float = 14.0
    grain_mm: float = 0.9
    air_share: float = 0.5


def scan_slice(
    plane_hu: npt.NDArray[np.float32],
    pixel_mm: tuple[float, float],
    scanner: Scanner,
    rng: np.random.Generator,
) -> npt.NDArray[np.float32]:
    """One slice of the truth as the scanner would show it: blurred, noisy, rounded and cut at -1024 and 3071 HU."""
    from scipy.ndimage import gaussian_filter, zoom

    sigma = [scanner.blur_mm / 2.355 / p for p in pixel_mm]
    image = gaussian_filter(plane_hu, sigma, mode="nearest", truncate=3.0)
    small = np.clip(image[::8, ::8] / 1000.0 + 1.0, 0.0, 1.0)
    thick = gaussian_filter(small, [25.0 / 8 / p for p in pixel_mm], mode="nearest")
    level = zoom(
        thick, [n / m for n, m in zip(image.shape, thick.shape, strict=True)], order=1, grid_mode=True, mode="nearest"
    )
    share = scanner.air_share + (1.0 - scanner.air_share) * level
    image += (scanner.noise_hu * share * correlated_noise(image.shape, pixel_mm, scanner.grain_mm, rng)).astype(
        np.float32
    )
    rounded: npt.NDArray[np.float32] = np.clip(np.rint(image), -1024.0, 3071.0).astype(np.float32)
    return rounded


def correlated_noise(
    shape: tuple[int, ...], pixel_mm: tuple[float, float], grain_mm: float, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Noise of standard deviation 1 with the spectrum of filtered back projection: a ramp cut by the kernel.

    Source: Riederer, Pelc, Chesler, Phys Med Biol 1978, doi:10.1088/0031-9155/23/3/008 (noise power of filtered back
    projection).
    """
    from scipy.fft import irfft2, rfft2

    white = rng.standard_normal(shape, dtype=np.float32)
    down = np.fft.fftfreq(shape[0], pixel_mm[0])[:, None]
    across = np.fft.rfftfreq(shape[1], pixel_mm[1])[None, :]
    frequency = np.hypot(down, across)
    gain = (np.sqrt(frequency) * np.exp(-((frequency * grain_mm) ** 2) * 2.0)).astype(np.float32)
    noise: npt.NDArray[np.float32] = irfft2(rfft2(white) * gain, s=shape)
    return noise / np.float32(max(float(noise.std()), 1e-6))
