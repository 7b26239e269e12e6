"""CTs whose truth is known: a phantom thorax with planted nodules, a scanner, a DICOM series."""
