"""The formats of the ITK world: MetaImage and NRRD."""

from imaging.io.metaimage import read_metaimage, read_metaimage_header
from imaging.io.nrrd import read_nrrd, read_nrrd_header

__all__ = ["read_metaimage", "read_metaimage_header", "read_nrrd", "read_nrrd_header"]
