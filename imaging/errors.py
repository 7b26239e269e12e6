"""Every refusal and every warning of nodulus, in one table.

The tree of errors::

    ImagingError                 anything that stops a job; carries .code, .message, .where, .remedy
    ├── InputError               the input is refused (exit code 4)
    ├── ModelError               the weights or the model cannot be used (exit code 5)
    ├── OutputError              a result cannot be written (exit code 1, nothing half-written is left)
    └── UsageError               the caller asked for something impossible (exit code 2)

A `Notice` is the other half: the job went on, but something was repaired, dropped or is in doubt. Codes of both kinds
live in `CODES`; help texts, documentation and tests are made from that table. A code is ``room.what``, lower case.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Kind = Literal["input", "model", "output", "usage", "notice"]


@dataclass(frozen=True)
class CodeInfo:
    """One row of the table of codes: its kind, what it means and what to do next."""

    kind: Kind
    meaning: str
    remedy: str


CODES: Final[dict[str, CodeInfo]] = {}


def _register(kind: Kind, rows: dict[str, tuple[str, str]]) -> None:
    for code, (meaning, remedy) in rows.items():
        if code in CODES:
            raise RuntimeError(f"code {code} is registered twice")
        CODES[code] = CodeInfo(kind, meaning, remedy)


class ImagingError(Exception):
    """A job that cannot go on, with a code a program can act on and words a person can act on.

    Args:
        code: a key of `CODES`.
        message: what happened, naming the tag, the value and the expectation.
        where: the file or series it happened in, if there is one.
        remedy: what to do next; by default the one in `CODES`.

    Raises:
        KeyError: if `code` is not in the table, so that no undocumented code can be raised.
    """

    def __init__(self, code: str, message: str, *, where: str | Path | None = None, remedy: str | None = None) -> None:
        info = CODES[code]
        self.code = code
        self.message = message
        self.where = None if where is None else str(where)
        self.remedy = info.remedy if remedy is None else remedy
        super().__init__(code, message)

    def __str__(self) -> str:
        place = f" [{self.where}]" if self.where else ""
        return f"{self.code}: {self.message}{place}. Next: {self.remedy}"

    def to_json(self) -> dict[str, str | None]:
        """The error as plain values: code, message, where, remedy."""
        return {"code": self.code, "message": self.message, "where": self.where, "remedy": self.remedy}


class InputError(ImagingError):
    """The input is refused; another input may be fine."""


class ModelError(ImagingError):
    """The model or its weights are missing, changed or unsuitable."""


class OutputError(ImagingError):
    """A result could not be written; nothing half-written is left behind."""


class UsageError(ImagingError):
    """The request itself cannot be met, whatever the input."""


@dataclass(frozen=True)
class Notice:
    """One repair, drop or doubt: a code of `CODES` (kind ``notice``) and a sentence with the facts."""

    code: str
    message: str

    def __post_init__(self) -> None:
        if CODES[self.code].kind != "notice":
            raise ValueError(f"{self.code} is not the code of a notice")

    def to_json(self) -> dict[str, str]:
        """The notice as plain values."""
        return {"code": self.code, "message": self.message}


# --- usage -----------------------------------------------------------------------------------------------------------
_register(
    "usage",
    {
        "usage.option": ("an option has a value that cannot be used", "see --help for the allowed values"),
    },
)

# --- geometry --------------------------------------------------------------------------------------------------------
_register(
    "input",
    {
        "geometry.singular": (
            "the affine does not span three dimensions",
            "export the series again from its source; a grid with zero spacing has no place in space",
        ),
    },
)

# --- sources: files, folders, archives (imaging.io.sources, archives, limits) ----------------------------------------
_register(
    "input",
    {
        "input.missing": ("there is nothing at this path", "check the path; it is relative to the current folder"),
        "input.empty": ("the file, folder or archive is empty", "give a path that holds a CT"),
        "input.unreadable": (
            "the operating system does not let the file be read, or it is not an ordinary file",
            "check the permissions and the disk; pipes, sockets and devices are not read",
        ),
        "input.not_image": (
            "nothing in the input is an image that nodulus reads",
            "give DICOM, NIfTI, MetaImage or NRRD: a file, a folder or a zip of them",
        ),
        "input.too_large": (
            "the input is beyond a size limit",
            "give a smaller input, or raise the named limit (NODULUS_MAX_VOXELS, NODULUS_MAX_BYTES, NODULUS_MAX_FILES)",
        ),
        "archive.unsafe": (
            "an archive has a member that no honest archive has: a path out of it, a link, a duplicate or an overlap",
            "do not trust this archive; make a new one from the original files",
        ),
        "archive.encrypted": ("an archive is encrypted", "unpack it with its password and give the folder"),
        "archive.damaged": ("an archive is truncated or fails its checksum", "copy or download the archive again"),
        "archive.bomb": (
            "an archive would grow beyond reason when unpacked",
            "if the archive is honest, unpack it and give the folder, or raise NODULUS_MAX_RATIO",
        ),
        "archive.unsupported": (
            "an archive uses a feature that is not read",
            "unpack it and give the folder, or pack it again as an ordinary zip (stored or deflated)",
        ),
    },
)
_register(
    "notice",
    {
        "source.skipped": (
            "part of the input was not looked into: a pipe, a broken link, a closed folder, an unsafe archive",
            "check whether it belongs to the CT",
        ),
    },
)

# --- volumes in one file: NIfTI, MetaImage, NRRD (imaging.io.nifti, metaimage, nrrd, voxels) -------------------------
_register(
    "input",
    {
        "file.header": (
            "a field of the file's header is missing, broken or contradicts another",
            "write the file again with the tool that made it, or give the original DICOM series",
        ),
        "file.truncated": ("the file holds fewer voxels than its header declares", "copy or download the file again"),
        "file.surplus": (
            "the file holds more bytes than its header declares, so one of the two is wrong",
            "write the file again with the tool that made it",
        ),
        "file.damaged": ("the compressed voxels fail their checksum", "copy or download the file again"),
        "file.data_missing": (
            "the file with the voxels that a header names is not beside it",
            "keep header and voxels in one folder, under the names they were written with",
        ),
        "file.dimensions": (
            "the file does not hold one three-dimensional image of one value a voxel",
            "write the wanted volume into a file of its own",
        ),
        "file.unsupported": (
            "the file uses a feature of its format that is not read",
            "write it again as plain NIfTI, MetaImage or NRRD, uncompressed or with gzip",
        ),
        "file.geometry": (
            "the header does not say where the voxels lie, or says something impossible",
            "write the file again with its spacing and orientation, or give the original DICOM series",
        ),
    },
)
_register(
    "notice",
    {
        "file.frame_unknown": (
            "the header does not say where the patient lies: millimetres are right within the image only",
            "do not use sides or coordinates of this result without looking",
        ),
        "file.affines_differ": (
            "the two places in a NIfTI header differ; the sform counts",
            "check in a viewer that the CT lies where it should",
        ),
        "file.spacing_conflict": (
            "two fields of the header give different spacings; the one that places the voxels counts",
            "check the size of the patient in a viewer",
        ),
        "file.spacing_doubtful": ("the spacing is hardly that of a CT", "check the unit of the file's spacing"),
        "file.unit_converted": ("the header's unit of length was converted to millimetres", "nothing, if it is right"),
        "file.rescaled": ("a slope and offset from the header were applied", "nothing, if other programs do so too"),
        "file.scale_ignored": (
            "the header's scale is void, so the stored values count",
            "check that the values are HU",
        ),
        "file.size_ignored": ("the header's compressed size is wrong; the voxels are whole", "nothing"),
        "file.not_finite": (
            "voxels without a number were set to air (-1024 HU)",
            "check what the gaps in the image are",
        ),
        "file.not_hu": (
            "the values are not Hounsfield units",
            "give the original DICOM series, or a file whose values are HU (air near -1000, water near 0)",
        ),
        "file.hu_doubtful": ("the values may not be Hounsfield units", "check that air is near -1000 and water near 0"),
    },
)

# --- outputs on disk (imaging.io.atomic) -----------------------------------------------------------------------------
_register(
    "output",
    {
        "output.disk_full": ("the disk is full", "free some room and run again; nothing half-written is left"),
        "output.not_writable": ("the place cannot be written to", "check the permissions, or give another folder"),
        "output.exists": ("the output is there already", "give another output folder, or remove this one"),
        "output.failed": ("the operating system could not write", "check the disk and run again"),
    },
)
_register(
    "notice",
    {
        "geometry.resampled": (
            "values were interpolated onto another grid",
            "measure on the original series where single voxels matter",
        ),
    },
)

# --- outputs ---------------------------------------------------------------------------------------------------------
_register(
    "usage",
    {
        "outputs.unknown_format": ("an output format that does not exist was asked for", "see --help for the formats"),
        "outputs.no_dicom_source": (
            "a DICOM result was asked for, but the CT was not read from DICOM instances",
            "give the DICOM series itself, or leave out sr and seg",
        ),
        "outputs.no_findings": (
            "a DICOM segmentation cannot be written without an outlined finding",
            "write the SR, which reports a scan without findings as such",
        ),
    },
)
_register(
    "output",
    {
        "outputs.header_unusable": (
            "the CT's header lacks what a DICOM result must name (study, series or "
            "instances), or holds it in a broken form",
            "repair the named attribute at the source, or leave out sr and seg",
        ),
    },
)
_register(
    "notice",
    {
        "outputs.seg_empty": (
            "the DICOM segmentation was left out because there is no outline to write",
            "read the SR",
        ),
        "outputs.header_repaired": (
            "an attribute of the CT's header is not valid DICOM and was left empty in the DICOM results",
            "repair it at the source if the archive needs it",
        ),
    },
)

# --- DICOM headers and series (imaging.io.series, dicom_header, dicom_groups) ----------------------------------------
_register(
    "input",
    {
        "dicom.damaged": (
            "a DICOM file is cut short or malformed",
            "copy or export this file again; nodulus does not guess missing bytes",
        ),
        "dicom.missing": (
            "an attribute that the image cannot be placed or scaled without is missing",
            "export the series again from the scanner or PACS with all its attributes",
        ),
        "dicom.value": (
            "an attribute has a value that makes no sense",
            "export the series again from the scanner or PACS, or correct the attribute at its source",
        ),
        "dicom.transfer_syntax": (
            "the pixel data is encoded in a transfer syntax without a decoder here",
            "convert the series to Explicit VR Little Endian (gdcmconv --raw, dcmdjpeg, dcmconv) and give that",
        ),
        "dicom.pixel_format": (
            "the pixel data is not laid out as one grey value a pixel in 8, 16 or "
            "32 bits, or its size disagrees with the header",
            "export the series again from the scanner or PACS",
        ),
        "dicom.rescale": (
            "the stored values cannot be turned into Hounsfield units",
            "export the series again with one rescale slope and intercept for each image",
        ),
        "series.ambiguous": (
            "several series or groups of images could be meant",
            "name one with series= (--series), or give its folder alone; see `nodulus inspect PATH`",
        ),
        "series.not_ct": ("the series is not CT", "give a CT series"),
        "series.no_volume": (
            "the series holds no stack of CT images: scouts, screen captures, projections or reports",
            "give the original axial series",
        ),
        "series.perfusion": (
            "the series holds computed maps (perfusion and the like), not Hounsfield units",
            "give the CT series that the maps were computed from",
        ),
        "series.derived": (
            "the series is derived from another one (reformatted, processed) that is there too",
            "name it with series= (--series) to read it all the same",
        ),
        "series.single_slice": ("a single image is no volume", "give all images of the series"),
    },
)
_register(
    "notice",
    {
        "series.files_ignored": (
            "files that are no image were passed over",
            "check that none of them belongs to the CT",
        ),
        "series.images_dropped": (
            "images that are no part of the stack (scouts, captures, reports, projections) were left out",
            "check the list if the stack looks too short",
        ),
        "series.others": ("other series in the input were not read", "name one with series= (--series) to read it"),
        "series.is_derived": (
            "the series is derived (reformatted or processed), not what the scanner reconstructed",
            "prefer the original series",
        ),
        "series.group": (
            "the series UID holds several volumes; this is one of them",
            "check that the group is the one that was meant",
        ),
        "series.acquisitions": (
            "several acquisitions interleave along the stack",
            "check that they belong to one phase",
        ),
        "series.mixed_settings": (
            "the images of the stack were made with different settings",
            "check that they belong together",
        ),
        "dicom.no_preamble": ("files lack the DICOM preamble", "nothing; their content was checked like any other"),
        "dicom.duplicates": ("identical images at one place were read once", "nothing, if the series was copied twice"),
    },
)

# --- the place of DICOM slices (imaging.io.dicom_geometry) -----------------------------------------------------------
_register(
    "input",
    {
        "geometry.gap": (
            "slices are missing within the stack",
            "find the missing images at the source; a volume with a hole would put findings at the wrong place",
        ),
        "geometry.irregular": (
            "the distance between slices is not the same throughout",
            "reconstruct the series with one spacing, or give the part with one spacing alone",
        ),
        "geometry.orientation": (
            "the images of the stack lie at different or impossible angles",
            "give the images of one orientation alone",
        ),
        "geometry.pixel_spacing": (
            "the images of the stack have different pixel spacings",
            "give the images of one spacing alone; they were reconstructed differently",
        ),
        "geometry.frames_of_reference": (
            "the images of the stack belong to different frames of reference",
            "give the images of one frame of reference alone; between two, millimetres do not compare",
        ),
        "geometry.conflict": (
            "different images lie at one place, and no attribute says what sets them apart",
            "give the images of one phase or reconstruction alone",
        ),
        "geometry.one_position": ("all images lie at one place", "give the images of a whole stack"),
    },
)
_register(
    "notice",
    {
        "geometry.sheared": (
            "the stack is sheared (a tilted gantry or a drift); its affine keeps the shear",
            "use Volume.resampled() where an upright grid is needed",
        ),
        "geometry.jitter": ("slice positions scatter around even spacing", "nothing; the grid is the best fit"),
        "geometry.frames_all_distinct": (
            "each image names a frame of reference of its own, as some anonymisers write",
            "nothing, if the images come from one acquisition",
        ),
        "geometry.no_frame_of_reference": (
            "the series names no frame of reference",
            "results cannot be placed over other series of the study",
        ),
    },
)

# --- DICOM pixels (imaging.io.dicom_pixels, dicom_codecs) ------------------------------------------------------------
_register(
    "notice",
    {
        "pixels.padding": ("padding outside of the reconstructed field was set to air (-1024 HU)", "nothing"),
        "pixels.padding_kept": (
            "the padding value lies among the values of tissue and was not replaced",
            "check the picture outside of the reconstructed field",
        ),
        "pixels.bits_repaired": (
            "bits outside of the stored ones were cleared or the sign was extended",
            "nothing; the standard allows other data in these bits",
        ),
        "pixels.monochrome1": (
            "the images are declared as MONOCHROME1; their Hounsfield units are as stored",
            "nothing",
        ),
        "pixels.not_hu": (
            "the values are not known to be Hounsfield units",
            "export the series again with its rescale slope and intercept, from the original CT",
        ),
        "pixels.lossy": ("the images were compressed with loss", "prefer the original; fine detail may be gone"),
        "pixels.excess": ("files hold more bytes of pixel data than the image needs", "nothing"),
    },
)

# --- choosing and analysing (pipelines.series_choice, pipelines.predict) ---------------------------------------------
_register(
    "input",
    {
        "series.none_usable": (
            "there is no series that can be analysed",
            "see `nodulus inspect PATH` for each series and its reason",
        ),
        "series.several_patients": (
            "the input holds series of several patients, who are never chosen among",
            "give one patient's folder, name one with --series, or run `nodulus batch` over a folder of patients",
        ),
        "input.not_hu": (
            "the values are not known to be Hounsfield units, so nothing can be measured on them",
            "export the series again with its rescale slope and intercept, from the original CT",
        ),
    },
)
_register(
    "usage",
    {
        "series.unknown": (
            "the series or study that was asked for is not there",
            "see `nodulus inspect PATH` for the UIDs",
        ),
        "usage.output_exists": (
            "the output folder holds an earlier result",
            "name another folder, or give --overwrite to replace the result once the new one is complete",
        ),
        "viewer.missing": ("the viewer is not installed", "install it with: pip install 'nodulus[viewer]'"),
        "viewer.no_display": (
            "there is no display to open a window on",
            "run it on a desktop or over a remote desktop; report.html and overlay.png need no display",
        ),
        "batch.locked": (
            "another run is writing into this output folder",
            "wait for it, stop it, or give another output folder",
        ),
        "batch.no_cases": (
            "the folder holds no case",
            "give a folder with one zip, file or subfolder for each CT",
        ),
        "batch.inside": (
            "the output folder lies inside the input folder, where its results would be taken for cases",
            "give an output folder elsewhere",
        ),
    },
)
_register(
    "output",
    {
        "batch.worker_died": (
            "the process that analysed this case was killed or crashed",
            "run this case alone with `nodulus predict`; if it was killed for memory, use fewer --jobs",
        ),
        "batch.memory": (
            "there was not enough memory for this case",
            "use fewer --jobs, or a machine with more memory",
        ),
        "batch.internal": (
            "a bug in nodulus",
            "run this case alone with `nodulus predict --debug` and report the traceback",
        ),
    },
)
_register(
    "notice",
    {
        "choice.older_study": ("a series lost because its study is older", "name it with --series to analyse it"),
        "choice.no_lungs": ("a series lost because no lungs were found in it", "name it with --series to see why"),
        "choice.cut_lungs": ("a series lost because it shows less of the lungs", "name it with --series to analyse it"),
        "choice.shorter": (
            "a series lost because it is too short for whole lungs",
            "name it with --series to analyse it",
        ),
        "choice.thicker": ("a series lost because its slices are thicker", "name it with --series to analyse it"),
        "choice.sharper": ("a series lost because its kernel enhances edges", "name it with --series to analyse it"),
        "choice.fewer": ("a series lost because it has fewer slices", "name it with --series to analyse it"),
        "choice.second_best": (
            "a series that the rule prefers could not be analysed, so another one was",
            "read the reason in the list of series that were not analysed; export that series again if it matters",
        ),
        "choice.tie": ("a series lost although it is as good as the chosen one", "name it with --series to analyse it"),
        "choice.not_asked": ("another series was asked for by name", "name this one with --series to analyse it"),
    },
)

# --- evaluation ------------------------------------------------------------------------------------------------------
_register(
    "input",
    {
        "evaluation.unreadable": (
            "the file is not a readable CSV",
            "save it as comma-separated text in UTF-8",
        ),
        "evaluation.columns": (
            "the table lacks a column, or holds one twice",
            "give the columns of LUNA16: seriesuid,coordX,coordY,coordZ and probability (marks) or diameter_mm (truth)",
        ),
        "evaluation.value": (
            "a row of the table cannot be understood",
            "correct the line that is named; nothing is guessed or skipped",
        ),
        "evaluation.series_list": (
            "the list of scans is empty or names a scan twice",
            "give one Series Instance UID a line, each once",
        ),
        "evaluation.no_nodules": (
            "no nodule lies in a listed scan, so there is no sensitivity",
            "check that truth and list of scans are of the same collection and that the UIDs agree to the letter",
        ),
    },
)
_register(
    "notice",
    {
        "evaluation.scans_assumed": (
            "the scans were gathered from the files",
            "give the list of all analysed scans, or scans without marks and nodules are left out of the rate",
        ),
        "evaluation.scans_without_marks": (
            "some listed scans have no mark",
            "make sure that they were analysed; a scan that was not run counts as free of false marks",
        ),
        "evaluation.unlisted_marks": (
            "marks of scans that are not listed were left out",
            "compare the UIDs, or evaluate each fold with its own list of scans and annotations",
        ),
        "evaluation.unlisted_nodules": (
            "nodules of scans that are not listed were left out",
            "fine for a fold; otherwise complete the list of scans",
        ),
        "evaluation.capped": (
            "scans have more marks than the protocol counts",
            "nothing, if that is intended; the least suspicious marks do not count",
        ),
        "evaluation.tied_at_cap": (
            "marks tied at the cap were dropped together",
            "write unrounded probabilities, or no more than 100 marks a scan",
        ),
        "evaluation.ties": (
            "nodules and false marks share scores",
            "write unrounded probabilities (or logits); within a tie the curve is a straight line",
        ),
        "evaluation.rounded": (
            "the probabilities are rounded",
            "write them as they come out of the model; rounding to one decimal halves a CPM",
        ),
        "evaluation.frame": (
            "the coordinates look as if they were in another frame",
            "write LPS millimetres, as in DICOM and ITK",
        ),
        "evaluation.no_excluded": (
            "no excluded findings were given",
            "give annotations_excluded.csv for a number that compares with LUNA16",
        ),
        "evaluation.two_nodules": (
            "one mark hits two nodules",
            "check the annotations for overlaps",
        ),
        "evaluation.short_curve": (
            "the curve ends before 8 false marks per scan",
            "keep less suspicious marks too, down to about 10 false ones a scan",
        ),
        "evaluation.not_probabilities": (
            "the scores are not in [0, 1], so no calibration is given",
            "nothing, if they are logits; the curve needs only their order",
        ),
    },
)

# --- viewer ----------------------------------------------------------------------------------------------------------
_register(
    "output",
    {
        "review.unwritten": (
            "a decision could not be brought to the disk",
            "free some space or choose another folder, then press Save; until then the decision is kept in memory",
        ),
    },
)
_register(
    "input",
    {
        "review.other_series": (
            "the file of decisions belongs to another CT",
            "open the result that belongs to this CT; nothing was changed",
        ),
        "result.unreadable": (
            "the result folder cannot be read",
            "run nodulus predict again for this CT",
        ),
        "result.other_series": (
            "the result belongs to another CT",
            "open the CT that the result names, or run nodulus predict on this one",
        ),
        "result.no_ct": (
            "a result folder holds maps and findings but not the CT",
            "open the CT first, then drop the result folder on it, or run: nodulus view CT RESULT",
        ),
    },
)
_register(
    "notice",
    {
        "review.torn_line": (
            "a line in the file of decisions is incomplete",
            "check the last decisions; the program was cut off while it wrote that line",
        ),
        "review.by_reader": (
            "a reader has reviewed the findings",
            "nothing; it names the reader, the counts and the AI result that was reviewed",
        ),
        "review.undecided": (
            "some findings were not decided on",
            "decide on each finding, or read them as the AI's alone",
        ),
        "review.added": (
            "the reader added this finding; its score of 1 is the reader's mark, not the model's",
            "nothing",
        ),
        "review.edited": ("the reader changed the centre or the diameter", "nothing"),
        "review.accepted": ("the reader accepted this finding", "nothing"),
    },
)

# --- preprocessing ---------------------------------------------------------------------------------------------------
_register(
    "input",
    {
        "lungs.none": (
            "no aerated lung was found",
            "give a CT of the chest; see `nodulus inspect` for what the series is",
        ),
    },
)
_register(
    "notice",
    {
        "lungs.partial": ("a large part of the lungs was not scanned", "read the report for the scanned part only"),
        "lungs.truncated": ("lung is cut off where the scan ends", "look at the cut edge on another series"),
        "lungs.single": ("aerated lung was found on one side only", "check the other side by eye"),
        "lungs.implant": ("metal streaks the image", "do not trust findings near the metal"),
        "series.thick_slices": ("slices are thick or far apart", "use a thin series of the same study if there is one"),
        "series.sharp_kernel": (
            "the image is sharp or very noisy",
            "use a soft-tissue series of the same study if there is one",
        ),
    },
)

# --- localization ----------------------------------------------------------------------------------------------------
_register(
    "notice",
    {
        "measurement.leaked": (
            "the outline ran into a vessel, the chest wall or another structure, so no size is given",
            "measure the finding by hand",
        ),
        "measurement.none": (
            "nothing denser than lung was found at the finding, so no size is given",
            "look at the place; it may be a false mark or very faint ground glass",
        ),
    },
)

# --- models and training ---------------------------------------------------------------------------------------------
_register(
    "model",
    {
        "weights.missing": (
            "no weights where they were looked for",
            "name a folder with manifest.json, as 'nodulus train' writes it, or "
            "leave --weights out for the shipped ones",
        ),
        "weights.changed": (
            "a file of weights is not the one that its manifest describes",
            "install the package again, or take the run folder from its source again",
        ),
        "weights.unsuitable": (
            "the weights do not fit this version of the network",
            "use weights whose manifest has a schema version that this version of nodulus reads",
        ),
    },
)
_register(
    "notice",
    {
        "prompt.untrained": (
            "a prompt has words that the text tower never met in training; its map may mean nothing",
            "use words of imaging/models/prompts.json",
        ),
    },
)
_register(
    "input",
    {
        "cases.layout": (
            "a folder of training cases is incomplete or its arrays do not fit together",
            "make it again with 'nodulus prepare'",
        ),
        "manifest.layout": (
            "the table of training cases is not a CSV with a column 'path', or a line of it cannot be right",
            "give a CSV of path, label, text and split as docs/training.md shows it",
        ),
        "manifest.path": (
            "a line of the table of training cases names a path where nothing is",
            "correct the path; it is relative to the table",
        ),
        "manifest.label": (
            "a label is neither 0 nor 1, or is given where the cases have labels of their own",
            "write 1 for a scan with a nodule, 0 for one without; leave it empty for a folder of prepared cases",
        ),
        "manifest.one_sided": (
            "training needs cases with and without a nodule, and one side is missing",
            "add scans of the other side, or correct the labels",
        ),
        "train.changed": (
            "the run was begun with other cases or another recipe, so it cannot go on to the same bytes",
            "resume with the manifest, steps, seed and device it was begun with, or start in another folder",
        ),
        "train.no_checkpoint": (
            "there is no checkpoint to go on from in this folder",
            "leave out --resume, or name the folder of the run that was stopped",
        ),
    },
)
