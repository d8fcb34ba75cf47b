"""The asset checks: `table` lists them all; each module holds the functions of its subject."""
