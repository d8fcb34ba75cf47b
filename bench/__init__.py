"""Measurements behind docs/benchmarks.md: one module per figure, run by ``make bench``."""
