"""Codes of labels: those that DICOM uses too against pydicom's dictionaries, the rest against their own form."""

from __future__ import annotations

import re

import pytest

from imaging.training.report_codes import ATTRIBUTE, NODULE, PRESENCE, codes_of
from imaging.training.report_labels import ATTRIBUTES, label_report

EVERY = [*NODULE, *(code for table in (PRESENCE, ATTRIBUTE) for codes in table.values() for code in codes)]


def known_to_pydicom() -> dict[tuple[str, str], set[str]]:
    from pydicom.sr._concepts_dict import concepts

    known: dict[tuple[str, str], set[str]] = {}
    for scheme, keywords in concepts.items():
        for codes in keywords.values():
            for value, (meaning, _) in codes.items():
                known.setdefault((scheme, value), set()).add(meaning)
    return known


def test_every_attribute_has_a_code():
    assert set(ATTRIBUTE) == set(ATTRIBUTES)
    assert len({(code.scheme, code.value) for code in EVERY}) == len(EVERY)


@pytest.mark.parametrize("code", EVERY, ids=str)
def test_a_code_is_well_formed_and_means_what_dicom_says(code):
    form = {"SCT": r"[1-9]\d{5,17}", "RADLEX": r"RID\d+", "DCM": r"\d{6}"}[code.scheme]
    assert re.fullmatch(form, code.value)
    if code.scheme == "SCT":
        assert verhoeff_is_right(code.value)
    meanings = known_to_pydicom().get((code.scheme, code.value))
    if code.scheme == "DCM":
        assert meanings
    assert meanings is None or code.meaning in meanings


def verhoeff_is_right(digits: str) -> bool:
    """The check digit of a SNOMED CT identifier: Verhoeff's, over the dihedral group of the pentagon."""

    def product(a: int, b: int) -> int:
        turned = (a % 5 + (b if a < 5 else -b)) % 5
        return turned + 5 * ((a < 5) != (b < 5))

    moved, total = list(range(10)), 0
    step = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]
    for digit in reversed(digits):
        total = product(total, moved[int(digit)])
        moved = [step[m] for m in moved]
    return total == 0


def test_the_check_digit_finds_a_slip():
    assert not verhoeff_is_right("786838003")
    assert not verhoeff_is_right("768838002")


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("Spiculated nodule, not calcified.", "786838002 RID50149 52101004 RID28472 RID5713 129742005"),
        ("左肺小结节不除外。", "786838002 RID50149 82334004 RID39110"),
        ("Heart size is normal.", ""),
    ],
)
def test_a_report_has_the_codes_of_what_it_says(text, codes):
    assert [code.value for code in codes_of(label_report(text))] == codes.split()
