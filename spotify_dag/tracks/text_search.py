"""How well a text names a track: the part of search that needs no index.

A text is compared as the set of its trigrams, taken word by word with the words' ends marked, so that a typo costs a
few trigrams, the order of words nothing, and accents and case are gone before. What a person typed may be a title,
a title and its artist, an artist, an album …: every such *reading* of a track is compared, and the best one counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from spotify_dag.errors import SpotifyDagError
from spotify_dag.features.audio import RANGES

QUERY_CHARS = 200
"""Of longer texts, the beginning is searched: nobody's title is longer, and time stays bounded."""
SEPARATOR = "|"
"""Between artist and song in a song key."""
# What a reading counts. A title is likelier meant than an artist, an artist than an album; the song without notes on
# its recording, or the beginning of what is still being typed, is almost as good as all of it.
TITLE, SONG, TITLE_ARTIST, SONG_ARTIST, ALL, BEGINNING, ARTIST, ALBUM = 1.0, 0.99, 0.995, 0.985, 0.97, 0.94, 0.9, 0.85


class SearchError(SpotifyDagError):
    """A filter that cannot be. The message names it, the value and the remedy."""


@dataclass(frozen=True)
class Filters:
    """What answers are restricted to."""

    genre: str | None = None
    years: tuple[int, int] | None = None
    explicit: bool | None = None
    audio: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Range of each audio feature, ends included, in the units of `features.audio.RANGES`."""

    def where(self) -> str | None:
        """Return the filter in SQL, None where everything is let through.

        Raises
        ------
        SearchError
            If an audio feature does not exist, or a range ends before it begins.
        """
        clauses = []
        if self.genre is not None:
            quoted = printable(self.genre).lower().replace("'", "''")
            clauses.append(f"array_has_any(genres, ['{quoted}'])")
        if self.explicit is not None:
            clauses.append(f"explicit = {str(self.explicit).lower()}")
        ranges: dict[str, tuple[float, float]] = dict(self.audio)
        if strange := sorted(ranges.keys() - RANGES.keys()):
            raise SearchError(f"Unknown audio feature '{strange[0]}'. Choose from: {', '.join(RANGES)}.")
        if self.years is not None:
            ranges["release_year"] = self.years
        for name, (low, high) in ranges.items():
            if not low <= high:
                raise SearchError(f"The range of {name}, {low:g} to {high:g}, is empty. Give the smaller number first.")
            clauses.append(f"{name} >= {low!r} and {name} <= {high!r}")
        return " and ".join(clauses) or None


def printable(text: str) -> str:
    """Return a text with ``?`` for what is no letter at all, as terminals hand over bytes that they cannot decode."""
    return text.encode(errors="replace").decode()


@lru_cache(maxsize=50_000)
def word_grams(word: str) -> tuple[str, ...]:
    """Return the trigrams of a word, its ends marked: "abba" gives ``^ab abb bba ba$``."""
    marked = f"^{word}$"
    return tuple(marked[start : start + 3] for start in range(len(marked) - 2))


def grams(folded: str) -> frozenset[str]:
    """Return the trigrams of all words of a folded text (`features.tracks.folded`)."""
    return frozenset(gram for word in folded.split() for gram in word_grams(word))


def gram_text(title: str, artist: str) -> str:
    """Return the trigrams of a track as the words of a text, for a full-text index."""
    return " ".join(sorted(grams(f"{title} {artist}")))


def likeness(query: str, track: dict[str, Any]) -> float:
    """Return how well a folded text names a track, 0 to 1: the best reading, by the Dice coefficient of trigrams.

    Parameters
    ----------
    query
        The folded text.
    track
        ``title, artist, album`` folded (the album may be null), and ``song_key``.
    """
    typed = grams(query)
    if not typed:
        return 0.0
    title, artist = grams(track["title"]), grams(track["artist"])
    song_title = track["song_key"].partition(SEPARATOR)[2]
    best = max(TITLE * _dice(typed, title), TITLE_ARTIST * _dice(typed, title | artist), ARTIST * _dice(typed, artist))
    if song_title != track["title"]:
        song = grams(song_title)
        best = max(best, SONG * _dice(typed, song), SONG_ARTIST * _dice(typed, song | artist))
    if track.get("album"):
        album = grams(track["album"])
        best = max(best, ALBUM * _dice(typed, album), ALL * _dice(typed, title | artist | album))
    beginning = f"{track['title']} {track['artist']}"[: len(query)]
    return max(best, BEGINNING * _dice(typed, grams(beginning)))


def _dice(left: frozenset[str], right: frozenset[str]) -> float:
    return 2 * len(left & right) / (len(left) + len(right))
