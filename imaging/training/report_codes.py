"""What a report's label is called in SNOMED CT, RadLex and DICOM's own terms, in one table.

Source: RadLex 4 (``RID...``) as the RadElement set on pulmonary nodules uses it; SNOMED CT International
(``786838002``); the codes that DICOM PS3.16 uses too are looked up in pydicom's copy by a test.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from imaging.training.report_labels import ReportLabel


class LabelCode(NamedTuple):
    """One concept: the scheme as DICOM designates it, the code and its meaning there."""

    scheme: str
    value: str
    meaning: str

    def __str__(self) -> str:
        return f"{self.scheme}:{self.value}"


NODULE: Final = (
    LabelCode("SCT", "786838002", "Nodule of lung"),
    LabelCode("RADLEX", "RID50149", "pulmonary nodule"),
)
#: Whether there is one, as qualifiers of `NODULE`; a report that says nothing has no code.
PRESENCE: Final = MappingProxyType(
    {
        "positive": (LabelCode("SCT", "52101004", "Present"), LabelCode("RADLEX", "RID28472", "present")),
        "negative": (LabelCode("SCT", "2667000", "Absent"), LabelCode("RADLEX", "RID28473", "absent")),
        "uncertain": (
            LabelCode("SCT", "82334004", "Indeterminate"),
            LabelCode("RADLEX", "RID39110", "indeterminate"),
        ),
    }
)
ATTRIBUTE: Final = MappingProxyType(
    {
        "solid": (LabelCode("RADLEX", "RID5741", "solid"),),
        "part_solid": (LabelCode("RADLEX", "RID46011", "partially solid"),),
        "ground_glass": (
            LabelCode("RADLEX", "RID46016", "non-solid"),
            LabelCode("DCM", "112120", "Ground glass opacity"),
        ),
        "calcified": (
            LabelCode("RADLEX", "RID5747", "calcified"),
            LabelCode("SCT", "18115005", "pathologic calcification"),
        ),
        "spiculated": (
            LabelCode("RADLEX", "RID5713", "spiculated margin"),
            LabelCode("SCT", "129742005", "Lesion with spiculated margin (finding)"),
        ),
    }
)


def codes_of(report: ReportLabel) -> tuple[LabelCode, ...]:
    """The nodule, whether it is present, and the attributes that the report affirms; empty where it says nothing.

    >>> from imaging.training.report_labels import label_report
    >>> [str(code) for code in codes_of(label_report("未见明显结节。"))]
    ['SCT:786838002', 'RADLEX:RID50149', 'SCT:2667000', 'RADLEX:RID28473']
    """
    if report.label not in PRESENCE:
        return ()
    affirmed = [code for name, value in report.attributes.items() if value for code in ATTRIBUTE[name]]
    return (*NODULE, *PRESENCE[report.label], *affirmed)
