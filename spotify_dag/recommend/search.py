"""How well a text names a track: the part of search that needs no index.

A text is compared as the set of its trigrams, taken word by word with the words' ends marked, so that a typo costs a
few trigrams, the order of words nothing, and accents and case are gone before. What a person typed may be a title,
a title and its artist, an artist, an album …: every such *reading* of a track is compared, and the best one counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

QUERY_CHARS = 200
"""Of longer texts, the beginning is searched: nobody's title is longer, and time stays bounded."""
POPULARITY_WEIGHT = 0.02
"""What the most popular track is ahead of an unknown one: less than any difference that a reader would see."""


@lru_cache(maxsize=50_000)
def word_grams(word: str) -> tuple[str, ...]:
    """Return the trigrams of a word, its ends marked: "abba" gives ``^ab abb bba ba$``."""
    marked = f"^{word}$"
    return tuple(marked[start : start + 3] for start in range(len(marked) - 2))


def grams(folded: str) -> set[str]:
    """Return the trigrams of all words of a folded text (`features.tracks.folded`)."""
    return {gram for word in folded.split() for gram in word_grams(word)}
