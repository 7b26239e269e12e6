"""From public collections as they lie on disk to training cases: an image and its label, with the truth kept apart.

Outlines and boxes are used for one thing only: to say whether a window holds a nodule. They never reach a case.
"""
