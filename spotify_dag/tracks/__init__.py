"""Tracks: the catalogue, text search, and playlist continuation. No Dagster."""
