"""Who listens like whom, and why. No Dagster."""
