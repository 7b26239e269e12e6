"""One kind of result a file: tables, maps, pictures, pages and DICOM objects, all made from one `CaseResult`."""

from imaging.outputs.case import CaseResult
from imaging.outputs.registry import DEFAULT_FORMATS, WRITERS, Written, check_formats, write_case

__all__ = ["DEFAULT_FORMATS", "WRITERS", "CaseResult", "Written", "check_formats", "write_case"]
