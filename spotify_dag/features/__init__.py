"""Pure transforms: records -> tastes -> user embeddings. No I/O, no Dagster, no Python loop over users."""
