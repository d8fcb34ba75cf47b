"""Matching of users, and explanations of matches. No Dagster."""
