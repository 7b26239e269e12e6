"""`report.html`: complete, self-contained, and deaf to whatever a header says."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from imaging.errors import CODES
from imaging.findings import OperatingPoint, RejectedSeries
from imaging.outputs import html, words

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}&lt;b&gt;\ud800\u202e javascript:x"
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "header", "footer", "section", "h1", "h2", "p", "span", "br"),
    *("dl", "dt", "dd", "table", "thead", "tbody", "tr", "th", "td", "div", "ul", "li", "em", "strong"),
    *("figure", "figcaption", "img"),
}
ATTRIBUTES = {"lang", "charset", "http-equiv", "content", "name", "class", "scope", "src", "alt"}


class Page(HTMLParser):
    """Tags, attributes and text of a page, as a browser would see them."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def assert_harmless(page: Page) -> None:
    """Only our own tags and attributes, every picture inside the page, nothing fetched."""
    assert {tag for tag, _ in page.tags} <= TAGS
    assert page.open == []
    for tag, attributes in page.tags:
        assert set(attributes) <= ATTRIBUTES, (tag, attributes)
        if "src" in attributes:
            assert attributes["src"].startswith("data:image/jpeg;base64,")


def test_a_clinician_finds_everything(case, tmp_path):
    path = html.write(case, tmp_path)["report.html"]
    source = path.read_text(encoding="utf-8")
    page = Page(source)
    assert_harmless(page)
    report = case.report
    for expected in (
        report.study_instance_uid,
        "2020-01-02",
        report.seriesuid,
        "2 marks above the threshold",
        "not for diagnosis",
        "0.91",
        "7.2 mm",
        "right lung, upper zone",
        "−14.6",
        report.provenance.weights_name,
        report.provenance.weights_sha256,
        "1.9 false marks per scan",
        "39 validation scans",
        report.series_choice[1:],
        report.rejected_series[0].reason[1:],
        report.rejected_series[0].code,
        *(text for notice in report.notices for text in (notice.code, notice.message[1:], CODES[notice.code].remedy)),
    ):
        assert expected in page.text, expected
    assert "http" not in re.sub(r'http-equiv="', "", source)
    assert sum(tag == "img" for tag, _ in page.tags) == 2


def test_only_likely_attributes_are_told(case):
    text = Page(html.page(case)).text
    assert "solid 0.80" in text
    assert "ground-glass" not in text


def test_every_picture_opens(case):
    sources = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html.page(case))
    for source in sources:
        image = Image.open(BytesIO(base64.b64decode(source)))
        assert image.height == 404


def test_no_finding_never_reads_as_healthy(negative):
    page = Page(html.page(negative))
    assert_harmless(page)
    assert words.NO_MARK in page.text
    for word in ("healthy", "normal", "negative", "clear", "no nodules", "unremarkable", "benign"):
        assert word not in page.text.lower(), word
    assert sum(tag == "img" for tag, _ in page.tags) == 1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("findings", [0, 1])
def test_hostile_words_stay_words(build, findings):
    case = build.case(findings=findings, header=build.header(PatientName=HOSTILE[:50]))
    report = replace(
        case.report,
        seriesuid=HOSTILE,
        study_instance_uid=HOSTILE,
        study_date=HOSTILE,
        series_choice=HOSTILE,
        operating_point=OperatingPoint(0.5, 1.0, HOSTILE),
        notices=tuple(replace(notice, message=HOSTILE) for notice in case.report.notices),
        rejected_series=(RejectedSeries(HOSTILE, HOSTILE, HOSTILE, HOSTILE),),
        provenance=replace(
            case.report.provenance,
            software=HOSTILE,
            weights_name=HOSTILE,
            weights_sha256=HOSTILE,
            input_sha256=HOSTILE,
            settings={HOSTILE: HOSTILE},
            versions={HOSTILE: HOSTILE},
            created=HOSTILE,
        ),
        findings=tuple(
            replace(finding, attributes={HOSTILE: 0.5}, notes=(HOSTILE,)) for finding in case.report.findings
        ),
    )
    origin = replace(case.volume.origin, series_description=HOSTILE)
    case = replace(case, report=report, volume=replace(case.volume, origin=origin), similarity_prompt=HOSTILE)
    case = replace(case, grad_cam=None)
    source = html.page(case, show_identifiers=True)
    page = Page(source)
    assert_harmless(page)
    assert "49" not in re.findall(r"img src=x onerror=alert\(1\)>(.{0,12})", page.text)[0]
    assert page.text.count("<script>alert(1)</script>") >= 15
    assert "\u202e" not in source
    assert source.encode("utf-8")


def test_identifiers_are_shown_only_on_demand(case, build):
    hidden, shown = Page(html.page(case)).text, Page(html.page(case, show_identifiers=True)).text
    for secret in build.SECRETS:
        assert secret not in hidden
    for wanted in ("ANDERSON Zebulon", "MRN-77-4711", "1947-02-25"):
        assert wanted in shown


def test_a_ct_without_identifiers_says_so(build):
    case = build.case(dicom=False)
    assert "not named in the source" in Page(html.page(case, show_identifiers=True)).text
    assert html.identifiers(case) == {}


def test_what_was_not_measured_is_a_dash_and_not_a_zero(build):
    case = build.case(maps=False)
    unmeasured = replace(case.report.findings[1])
    report = replace(
        case.report, findings=(unmeasured,), operating_point=OperatingPoint(0.5, None, ""), notices=(), lungs_ml=None
    )
    page = Page(html.page(replace(case, report=report)))
    assert "size not measured" in page.text
    assert "not measured" in page.text
    assert "Nothing was repaired, dropped or in doubt." in page.text
    assert "Grad-CAM" not in page.text


def test_known_notes_are_told_in_words(case):
    code = next(iter(CODES))
    noted = replace(case.report.findings[0], notes=(code, "something.else"))
    page = Page(html.page(replace(case, report=replace(case.report, findings=(noted,)))))
    assert CODES[code].meaning in page.text
    assert "something.else" in page.text


def test_many_findings_are_all_listed_and_the_first_pictured(case):
    findings = tuple(replace(case.report.findings[0], number=n) for n in range(1, 14))
    page = Page(html.page(replace(case, report=replace(case.report, findings=findings))))
    assert sum(tag == "img" for tag, _ in page.tags) == 10
    assert "Only the 10 most suspicious findings are pictured." in page.text
    assert "13 marks above the threshold" in page.text


def test_a_tilted_gantry_is_told(build):
    assert "tilted gantry" in Page(html.page(build.case("sheared"))).text


def test_a_similarity_map_is_named_by_its_text(case):
    bare = replace(case, grad_cam=None, similarity=np.ones(case.volume.grid.shape, np.float32))
    assert "similarity to the text “lung nodule”" in Page(html.page(bare)).text
    assert "the model’s own texts" in Page(html.page(replace(bare, similarity_prompt=""))).text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0.000"), (0.9994, "0.999"), (0.9995, ">0.999"), (0.99999, ">0.999"), (1.0, "1.000")]
)
def test_a_score_below_one_never_reads_as_one(value, text):
    assert words.score(value) == text
