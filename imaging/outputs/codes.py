"""Every coded concept that goes into a DICOM result, in one table.

Meanings are those of the dictionaries of DICOM PS3.16; a test looks each code up in pydicom's copy of them.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from pydicom.sr.coding import Code

# What is reported
CHEST_CT: Final = Code("24627-2", "LN", "CT Chest Report")  # CID 7000
NODULE: Final = Code("27925004", "SCT", "Nodule")  # CID 7159; not "solitary": one scan may have several
ABNORMAL_STRUCTURE: Final = Code("49755003", "SCT", "Morphologically Abnormal Structure")  # CID 7150
SUMMARY: Final = Code("111017", "DCM", "CAD Processing and Findings Summary")
WITHOUT_FINDINGS: Final = Code("111241", "DCM", "All algorithms succeeded; without findings")  # CID 6047
ARTIFICIAL_INTELLIGENCE: Final = Code("123110", "DCM", "Artificial Intelligence")  # CID 7162
CENTRE: Final = Code("111010", "DCM", "Center")  # CID 219
DEVICE: Final = Code("121007", "DCM", "Device")  # CID 270
PERSON: Final = Code("121006", "DCM", "Person")  # CID 270
COMMENT: Final = Code("121106", "DCM", "Comment")
#: What a reader decided on a finding; DICOM has no code for it (PS3.16 8.1 allows private schemes that begin with 99).
DECISION: Final = Code("reader-decision", "99NODULUS", "Reader's decision")
DECISIONS: Final = MappingProxyType(
    {
        "accepted": Code("accepted", "99NODULUS", "Accepted as reported"),
        "corrected": Code("corrected", "99NODULUS", "Accepted with correction"),
        "added": Code("added", "99NODULUS", "Added by the reader"),
        "rejected": Code("rejected", "99NODULUS", "Rejected"),
    }
)

# Where
LUNG: Final = Code("39607008", "SCT", "Lung")
SIDES: Final = MappingProxyType({"left": Code("7771000", "SCT", "Left"), "right": Code("24028007", "SCT", "Right")})
#: Thirds of a lung's height are zones, not lobes: a fissure is not looked for. CID 6171.
ZONES: Final = MappingProxyType(
    {
        "upper": Code("281392002", "SCT", "Upper zone of lung"),
        "middle": Code("281393007", "SCT", "Middle zone of lung"),
        "lower": Code("281394001", "SCT", "Lower zone of lung"),
    }
)

# How much
LONG_AXIS: Final = Code("103339001", "SCT", "Long axis")
SHORT_AXIS: Final = Code("103340004", "SCT", "Short axis")
DIAMETER: Final = Code("81827009", "SCT", "Diameter")
VOLUME: Final = Code("118565006", "SCT", "Volume")
MEAN_ATTENUATION: Final = Code("112181", "DCM", "Mean Attenuation Coefficient")  # CID 6141
CERTAINTY: Final = Code("111012", "DCM", "Certainty of Finding")  # CID 6048
IN_PLANE: Final = Code("112188", "DCM", "Two-dimensional method")  # CID 6140
IN_SPACE: Final = Code("112189", "DCM", "Three-dimensional method")

# Units
MILLIMETRE: Final = Code("mm", "UCUM", "mm")
CUBIC_MILLIMETRE: Final = Code("mm3", "UCUM", "cubic millimeter")
HOUNSFIELD: Final = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
PERCENT: Final = Code("%", "UCUM", "Percent")
