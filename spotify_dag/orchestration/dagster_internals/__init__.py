"""Everything that uses Dagster's private interfaces: launcher, storage, daemon, records. For Dagster 1.13.

`pyproject.toml` caps Dagster below 1.14. When the cap is raised, ``test_private_interfaces.py`` names what changed.
"""
