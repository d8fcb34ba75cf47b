"""How well a text names a track: the part of search that needs no index.

A text is compared as the set of its trigrams, taken word by word with the words' ends marked, so that a typo costs a
few trigrams, the order of words nothing, and accents and case are gone before. What a person typed may be a title,
a title and its artist, an artist, an album …: every such *reading* of a track is compared, and the best one counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2s
from typing import Any

from spotify_dag.errors import SpotifyDagError
from spotify_dag.features.audio import RANGES

POPULAR = "Popular tracks"
"""What the list is called that answers a search for nothing."""
QUERY_CHARS = 200
"""Of longer texts, the beginning is searched: nobody's title is longer, and time stays bounded."""
SEPARATOR = "|"
"""Between artist and song in a song key."""
# What a reading counts. A title is likelier meant than an artist, an artist than an album; the song without notes on
# its recording, or the beginning of what is still being typed, is almost as good as all of it.
TITLE, SONG, TITLE_ARTIST, SONG_ARTIST, ALL, BEGINNING, ARTIST, ALBUM = 1.0, 0.99, 0.995, 0.985, 0.97, 0.94, 0.9, 0.85
EDITED, MOST_EDITS, LETTERS_PER_EDIT = 0.98, 2, 3
"""What a title counts that is a typo or two away, and how many letters a title needs for each typo."""
SHORT_TITLE = 10
"""Letters up to which a title is found by what is left of it without one letter: a typo spoils most of its trigrams."""


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


def gram_text(title: str, song: str, artist: str) -> str:
    """Return what a track is found by as the words of a text, for a full-text index: trigrams, and keys of its titles.

    Parameters
    ----------
    title, song, artist
        The title, the title of the song without notes on the recording, and the artist, folded.
    """
    return " ".join(sorted(grams(f"{title} {artist}") | title_keys(title) | title_keys(song)))


def title_keys(title: str) -> frozenset[str]:
    """Return keys of a folded title: of all of it, and, if it is short, of it without each of its letters.

    Two short titles one typo apart share a key: that of what is left without the letter in question (Garbe, symmetric
    deletion). So all tracks of a title are found, however often it is given, and those of a mistyped one.
    """
    forms = {title}
    if len(title) <= SHORT_TITLE:
        forms |= {title[:place] + title[place + 1 :] for place in range(len(title))}
    return frozenset(f"={blake2s(form.encode(), digest_size=6).hexdigest()}" for form in forms if form)


def likeness(query: str, track: dict[str, Any]) -> float:
    """Return how well a folded text names a track, 0 to 1: the best reading, by the Dice coefficient of trigrams.

    A title also counts by the typos it is away: optimal string alignment, so that two swapped letters are one.

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
    best = max(best, EDITED * max(_edited(query, track["title"]), _edited(query, song_title)))
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


def _edited(query: str, title: str) -> float:
    """Return the share of letters that are right where a title is a few typos away, else 0."""
    from rapidfuzz.distance import OSA

    longest = max(len(query), len(title))
    most = min(MOST_EDITS, longest // LETTERS_PER_EDIT)
    edits = OSA.distance(query, title, score_cutoff=most)
    return 1 - edits / longest if edits <= most else 0.0
