"""Find Spotify listeners with the same taste, say why, and stay fresh: a Dagster project."""
