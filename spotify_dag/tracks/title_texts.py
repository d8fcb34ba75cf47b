"""What playlists are called: the titles as sets of trigrams, and as words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from spotify_dag.tracks.text_search import grams

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FEWEST = 2
"""A word, or a whole title, of fewer playlists than this teaches nothing."""


class TitleTexts:
    """The distinct titles of playlists, folded, and which playlist has which.

    Parameters
    ----------
    titles
        Distinct titles, folded (`catalogue_rows.folded`).
    number
        ``[playlists]`` int, which title each playlist has, -1 where it has none.
    """

    def __init__(self, titles: Sequence[str], number: np.ndarray) -> None:
        from scipy.sparse import csr_matrix

        self.number = number
        parts = [sorted(grams(title)) for title in titles]
        self.grams = {gram: place for place, gram in enumerate(sorted({gram for part in parts for gram in part}))}
        columns = np.array([self.grams[gram] for part in parts for gram in part], np.int64)
        ends = np.cumsum([0, *map(len, parts)])
        shape = (len(titles), max(1, len(self.grams)))
        held = csr_matrix((np.ones(len(columns), np.float32), columns, ends), shape)
        frequency = np.bincount(columns, minlength=shape[1])
        self.rarity = np.log1p(len(titles) / (1 + frequency)).astype(np.float32)
        held.data *= self.rarity[held.indices]
        self.length = np.sqrt(np.maximum(held.multiply(held).sum(axis=1), 1e-9)).A1.astype(np.float32)
        self.by_title = held
        self._learn_words(titles)

    def _learn_words(self, titles: Sequence[str]) -> None:
        from scipy.sparse import csr_matrix

        held = [words_of(titles[place]) if place >= 0 else [] for place in self.number]
        names, counts = (
            np.unique(np.array([word for words in held for word in words], dtype=object), return_counts=True)
            if any(held)
            else (np.empty(0, object), np.empty(0))
        )
        self.words = {word: place for place, word in enumerate(names[counts >= FEWEST])}
        rows = [[self.words[word] for word in words if word in self.words] for words in held]
        ends = np.cumsum([0, *map(len, rows)])
        columns = np.array([column for row in rows for column in row], np.int64)
        shape = (len(rows), len(self.words))
        self.by_playlist: csr_matrix = csr_matrix((np.ones(len(columns), np.float32), columns, ends), shape)

    def likeness(self, title: str) -> np.ndarray:
        """Return the cosine of a folded title with each title, ``[titles]`` float32, over trigrams by rarity."""
        known = [self.grams[gram] for gram in grams(title) if gram in self.grams]
        unknown = len(grams(title)) - len(known)
        query = np.zeros(self.by_title.shape[1], np.float32)
        query[known] = self.rarity[known]
        # A trigram that no title has is as rare as can be.
        length = np.sqrt(max(float((query**2).sum()) + unknown * np.log1p(len(self.length)) ** 2, 1e-9))
        return (self.by_title @ query) / (self.length * length)

    def words_in(self, title: str) -> np.ndarray:
        """Return the numbers of the words of a folded title, and of the whole title."""
        return np.array([self.words[word] for word in words_of(title) if word in self.words], np.int64)


def words_of(title: str) -> list[str]:
    """Return the distinct words of a folded title, and the whole of it."""
    return [*dict.fromkeys(title.split()), f"={title}"] if title else []
