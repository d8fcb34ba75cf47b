"""Lists of tracks as files that other programs, and our own importers, read."""
