"""Everything that uses Dagster's private modules: launcher, storage, daemon. Written against Dagster 1.13."""
