"""What is left to do, found by comparing tables: buckets, users, tracks. No Dagster."""
