"""Why the model says so: maps of its evidence, and tests whether the maps follow the model."""
