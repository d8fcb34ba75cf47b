"""The network that maps a row of user embeddings to a user vector, and how it is trained. Pure: no I/O, no Dagster."""
