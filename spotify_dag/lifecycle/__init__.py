"""Deletion, retention, repair and housekeeping of a data root. No Dagster."""
