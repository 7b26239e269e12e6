"""Weak supervision: an image and its label go in, weights come out. No type of this room has a field for a place."""
