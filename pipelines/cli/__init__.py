"""The ``nodulus`` command: names, options and words only; the work is done in `pipelines` and `imaging`."""
