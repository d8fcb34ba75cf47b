"""Matches and why: pure functions over tastes. Nothing here reads a file."""
