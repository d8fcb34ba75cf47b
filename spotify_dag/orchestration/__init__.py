"""How the graph runs: partitions, staleness, checks, jobs."""
