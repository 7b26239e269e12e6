"""Files become volumes: DICOM, NIfTI, MetaImage and NRRD from a file, a folder or a zip, never silently wrong."""

from imaging.io.series import list_series, read_volume
from imaging.io.series_info import SeriesInfo

__all__ = ["SeriesInfo", "list_series", "read_volume"]
