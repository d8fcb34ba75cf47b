"""What words say about sound: "calm acoustic evening" asks for little energy and much acousticness.

Each audio feature has a phrase for either end of it. A text pulls a feature towards the end whose phrase its vector
is nearer to, in the space of the sentence-transformer; nothing is learned, so any words in any order do.
"""

from __future__ import annotations

import numpy as np

from spotify_dag.features.audio import SCALED

ENDS = {
    "energy": ("energetic intense powerful loud music", "calm quiet gentle relaxing music"),
    "danceability": ("danceable groovy party club music", "still music to sit and listen to"),
    "valence": ("happy cheerful joyful music", "sad melancholic gloomy music"),
    "acousticness": ("acoustic unplugged guitar and piano", "electronic synthesizers and amplifiers"),
    "instrumentalness": ("instrumental music without vocals", "songs with vocals and lyrics"),
    "tempo": ("fast uptempo workout running music", "slow ballads for falling asleep"),
}
"""Phrases for much and for little of a feature."""
PHRASES = [phrase for ends in ENDS.values() for phrase in ends]
DEAF = 0.08
"""Difference of cosines that chance makes: what is smaller pulls nothing."""


def mood_pull(texts: np.ndarray, phrases: np.ndarray) -> np.ndarray:
    """Return how much each text asks of each audio feature, ``[texts, len(SCALED)]`` from -1 to 1.

    What is asked for most is asked for fully; a text that speaks of no sound asks for nothing.

    Parameters
    ----------
    texts, phrases
        ``[texts, dim]`` and ``[len(PHRASES), dim]``, unit vectors of one encoder.
    """
    nearer = (texts @ (phrases[0::2] - phrases[1::2]).T).reshape(len(texts), len(ENDS))
    pull = np.zeros((len(texts), len(SCALED)), np.float32)
    heard = np.sign(nearer) * np.maximum(np.abs(nearer) - DEAF, 0)
    strongest = np.abs(heard).max(axis=1, keepdims=True, initial=0)
    pull[:, [SCALED.index(name) for name in ENDS]] = heard / np.where(strongest > 0, strongest, 1)
    return pull
