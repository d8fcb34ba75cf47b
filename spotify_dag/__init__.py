"""Find Spotify listeners with the same taste, say why, and stay fresh: a Dagster project."""

import os

# Threads of torch wait for each other after every small product. By default they do it in a loop that holds a core for
# milliseconds. Beside two busy processes 4,000 strings then took 39 to 69 s to encode. After 3,000 steps of the loop
# they sleep: 12 s, and nothing is lost where nobody else wants a core. It is read when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
