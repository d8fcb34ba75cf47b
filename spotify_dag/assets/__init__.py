"""The assets, one module per stage of the lineage. Thin: read, call a pure function, write, report."""
