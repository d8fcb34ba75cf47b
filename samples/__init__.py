"""Files, worlds and requests that tests and benchmarks share."""
