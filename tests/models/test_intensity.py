"""Stored bytes give back the HU they came from, to half a grey step."""

from __future__ import annotations

import pytest
import torch

from imaging.models.intensity import HU_HIGH, HU_LOW, from_bytes, to_bytes

STEP_HU = (HU_HIGH - HU_LOW) / 254


def test_hu_come_back_to_half_a_step():
    hu = torch.linspace(HU_LOW, HU_HIGH, 3001)
    back = from_bytes(to_bytes(hu))
    assert back.dtype == torch.float32
    assert float((back - hu).abs().max()) <= STEP_HU / 2 + 1e-3
    assert (float(back[0]), float(back[-1])) == (pytest.approx(HU_LOW), pytest.approx(HU_HIGH))


def test_each_byte_but_that_of_nothing_comes_back_as_itself():
    stored = torch.arange(1, 256).to(torch.uint8)
    assert torch.equal(to_bytes(from_bytes(stored)), stored)
    assert int(to_bytes(torch.tensor([torch.nan]))[0]) == 0
