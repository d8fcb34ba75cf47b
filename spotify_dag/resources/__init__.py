"""I/O: the lake, the vector tables, the model registry, the encoder, the inbox. No Dagster here, and no maths."""
