"""Public whole-chest CTs that this project neither trained on nor tuned on: where they are and what they hold.

They are measured on and never redistributed. The commits are of public GitHub repositories, most of which carry a
series that TCIA had de-identified; none is of the LIDC-IDRI collection. A scan named here must not be tuned on later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True)
class Source:
    """Where a scan is and what is known of it.

    Args:
        where: repository @ commit: path.
        licence: of the images, as their collection or repository gives it.
        holds: what the source says of the patient, and how the scan looks; nobody has marked nodules in any of them.
    """

    where: str
    licence: str
    holds: str


UNTOUCHED: Final[Mapping[str, Source]] = MappingProxyType(
    {
        "CMB-CRC-01068": Source(
            "stepha-mar/Colon @ d2bd8903: *.dcm",
            "CC BY 4.0 (TCIA, CMB-CRC)",
            "bowel cancer; sharp kernel, 2.5 mm",
        ),
        "OnkoDICOM-RT-02": Source(
            "didymo/OnkoDICOM @ 0cb723b4: src/res/testData/DICOM-RT-02/CT_*.dcm",
            "LGPL 2.1 (test data of that repository)",
            "planning CT, breathing freely, 4 mm; the outlined tumour is in the mediastinum, outside the lungs",
        ),
        "RICORD-1A-001012": Source(
            "aryamanwastaken/covid_chestCT_image_analysis @ 0486ba12: dicom",
            "CC BY-NC 4.0 (TCIA, MIDRC-RICORD-1A)",
            "COVID-19 with opacities; 1.25 mm",
        ),
        "RIDER-Pilot-0109": Source(
            "stepha-mar/mamograf @ c1c71796: 1-*.dcm",
            "not given with the files (TCIA, RIDER Pilot)",
            "a collection on response to therapy, no diagnosis given; the right lung is mostly without air; 5 mm",
        ),
        "RIDER-Pilot-0117": Source(
            "stepha-mar/10 @ f4607c09: *.dcm",
            "not given with the files (TCIA, RIDER Pilot)",
            "a collection on response to therapy, no diagnosis given; 75 mm of the lower lungs, 1.25 mm",
        ),
        "ACRIN-FLT-Breast-001": Source(
            "arreazavleo/AITest @ 674a6cd4: series ending in 729346",
            "CC BY 3.0 (TCIA, ACRIN-FLT-Breast)",
            "breast cancer; the tops of the lungs, 5 mm",
        ),
    }
)
