"""Find Spotify listeners with the same taste, say why, and stay fresh: a Dagster project."""

import os

# Threads of torch wait for each other after every small product, by default in a loop that takes a core. Where other
# work wants that core, 4,000 strings then took 39 to 69 s to encode, and so 5 to 8 s. Read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
