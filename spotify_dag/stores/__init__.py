"""Where things are kept: the lake, the user index, the model registry, the text encoder. No Dagster, no maths."""
