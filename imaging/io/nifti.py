"""NIfTI in and out; the only room in which RAS is spoken."""

from imaging.io.nifti_write import write_nifti

__all__ = ["write_nifti"]
