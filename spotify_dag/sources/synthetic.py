"""A generated world of listeners with known tastes: the embedded default, and the oracle of the tests.

Artists and their genres are real (``artists.csv`` in this folder); listeners, tracks and playlists are drawn. Each
user belongs to a taste community (a scene) with a few side interests, an era and favourite artists of its own.
Playlists have a theme, scene x era x mood, and their tracks follow Zipf's law within the theme. Users are drawn in
blocks of their own random streams, so a world of 2,000 users begins with the users of the world of 1,000.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from spotify_dag.features.audio import RANGES
from spotify_dag.sources.base import RECORD_COLUMNS, Batch, SourceError, no_rejects

if TYPE_CHECKING:
    import polars as pl

CATALOGUE = files("spotify_dag.sources").joinpath("artists.csv")
BLOCK_USERS = 1_000
TRACKS_PER_ARTIST = 20
ERA_YEARS = 12.0
"""Standard deviation, in years, of the music around the year a user likes best."""

# Per scene: energy, danceability, acousticness, valence, instrumentalness, speechiness (0 to 1), tempo (BPM), share of
# explicit tracks. They place scenes where listeners would; tracks scatter around them.
SCENE_SOUND = {
    "pop": (0.68, 0.70, 0.20, 0.60, 0.02, 0.07, 118, 0.10),
    "hip hop": (0.65, 0.78, 0.15, 0.50, 0.02, 0.25, 110, 0.65),
    "r&b soul": (0.50, 0.65, 0.35, 0.55, 0.03, 0.09, 102, 0.20),
    "classic rock": (0.72, 0.52, 0.18, 0.62, 0.08, 0.05, 124, 0.02),
    "indie rock": (0.68, 0.52, 0.20, 0.50, 0.12, 0.05, 126, 0.06),
    "metal": (0.93, 0.38, 0.02, 0.32, 0.25, 0.09, 132, 0.15),
    "punk": (0.92, 0.46, 0.03, 0.58, 0.05, 0.08, 152, 0.15),
    "electronic dance": (0.82, 0.70, 0.05, 0.45, 0.45, 0.07, 127, 0.04),
    "ambient electronica": (0.35, 0.42, 0.55, 0.22, 0.78, 0.05, 104, 0.01),
    "jazz": (0.35, 0.52, 0.72, 0.50, 0.45, 0.05, 112, 0.01),
    "classical": (0.15, 0.28, 0.93, 0.20, 0.85, 0.04, 100, 0.00),
    "country": (0.64, 0.58, 0.30, 0.60, 0.02, 0.04, 122, 0.03),
    "folk": (0.35, 0.48, 0.70, 0.42, 0.08, 0.04, 116, 0.02),
    "latin": (0.74, 0.74, 0.22, 0.68, 0.02, 0.09, 112, 0.25),
    "k-pop": (0.78, 0.68, 0.14, 0.58, 0.01, 0.09, 120, 0.03),
    "reggae afrobeat": (0.62, 0.76, 0.22, 0.72, 0.08, 0.12, 106, 0.10),
}
AUDIO_FEATURES = ("energy", "danceability", "acousticness", "valence", "instrumentalness", "speechiness")
# A mood pulls a playlist towards some audio features: (name, feature, pull). No pull: any track of the scene.
MOODS = (
    ("mix", "energy", 0.0),
    ("calm", "energy", -6.0),
    ("workout", "energy", 6.0),
    ("party", "danceability", 6.0),
    ("happy", "valence", 6.0),
    ("blue", "valence", -6.0),
)


@dataclass(frozen=True)
class SyntheticSource:
    """A world of ``users`` listeners with about ``playlists`` x ``tracks`` items each, the same for the same seed."""

    users: int = 500
    seed: int = 0
    playlists: int = 5
    tracks: int = 50
    name = "synthetic"

    def __post_init__(self) -> None:
        for option, low, high in (
            ("users", 1, 100_000_000),
            ("seed", 0, 2**63),
            ("playlists", 1, 100),
            ("tracks", 1, 400),
        ):
            value = getattr(self, option)
            if not isinstance(value, int) or not low <= value <= high:
                raise SourceError(f"synthetic: {option} is {value!r}; it must be a whole number from {low} to {high}.")

    def version(self) -> str:
        """Return a fingerprint of the parameters and the catalogue."""
        parameters = f"{self.users}|{self.seed}|{self.playlists}|{self.tracks}".encode()
        return hashlib.sha256(parameters + CATALOGUE.read_bytes()).hexdigest()[:16]

    def n_batches(self) -> int:
        """Return the number of blocks of users."""
        return -(-self.users // BLOCK_USERS)

    @property
    def artists(self) -> pl.DataFrame:
        """``artist_id, name, scene, genres (list), first_year, last_year, popularity``, one row per artist."""
        return _catalogue()

    def artist_genres(self) -> pl.DataFrame:
        """Return ``artist_id, artist_name, genres`` of the catalogue."""
        import polars as pl

        return self.artists.select("artist_id", pl.col("name").alias("artist_name"), "genres")

    @property
    def track_table(self) -> pl.DataFrame:
        """Every track of the world: ids, names, artist, year, popularity, explicit and its audio features."""
        return track_table(self.seed)

    def audio_features(self) -> pl.DataFrame:
        """Return the audio features of every track."""
        import polars as pl

        missing = [name for name in RANGES if name not in self.track_table.columns]
        return self.track_table.with_columns(pl.lit(None, pl.Float32).alias(name) for name in missing).select(
            "track_id", *RANGES
        )

    def tastes(self) -> pl.DataFrame:
        """Return the truth: ``user_id, community`` (the dominant scene) and ``mixture`` (a share per scene)."""
        import polars as pl

        blocks = [self._tastes(block) for block in range(self.n_batches())]
        mixture = np.concatenate([block.mixture for block in blocks])[: self.users]
        scenes = np.array(list(SCENE_SOUND))
        return pl.DataFrame(
            {
                "user_id": [f"synthetic-{user:06d}" for user in range(self.users)],
                "community": scenes[mixture.argmax(axis=1)],
                "mixture": mixture,
            }
        )

    def batches(self) -> Iterator[Batch]:
        """Yield one batch per block of 1,000 users."""
        import polars as pl

        for block in range(self.n_batches()):
            records = self.block(block)
            if (block + 1) * BLOCK_USERS > self.users:
                records = records.filter(pl.col("user_id") < f"synthetic-{self.users:06d}")
            read = records.group_by("user_id", maintain_order=True).agg(pl.len().alias("rows_read"))
            yield Batch(records, no_rejects(), read)

    def _tastes(self, block: int) -> _Tastes:
        import polars as pl

        rng = np.random.default_rng([self.seed, 2, block])
        n_scenes = len(SCENE_SOUND)
        mixture = rng.dirichlet(np.full(n_scenes, 0.12), BLOCK_USERS) * rng.uniform(0.15, 0.45, (BLOCK_USERS, 1))
        home = rng.integers(0, n_scenes, BLOCK_USERS)
        mixture[np.arange(BLOCK_USERS), home] += 1 - mixture.sum(axis=1)
        favourites = np.log(rng.gamma(0.4, size=(BLOCK_USERS, self.artists.height)) + 1e-9)
        # Lovers of classic rock mostly love its years too: eras belong to communities, with exceptions.
        scene_year = self.track_table.group_by("scene").agg(pl.col("release_year").mean())
        centre = np.array([dict(scene_year.iter_rows())[scene] for scene in SCENE_SOUND])[home]
        best_year = np.clip(rng.normal(centre, ERA_YEARS), 1955, 2023)
        return _Tastes(mixture, favourites, best_year)

    def block(self, block: int) -> pl.DataFrame:
        """Return the records of 1,000 users, whole blocks always."""
        import polars as pl

        rng = np.random.default_rng([self.seed, 3, block])
        tastes = self._tastes(block)
        user = np.repeat(np.arange(BLOCK_USERS), self.playlists)
        edges = tastes.mixture.cumsum(axis=1)[user]
        # Stratified: with five independent draws, one user in ten would have no dominant taste to be found.
        stratum = np.tile(np.arange(self.playlists), BLOCK_USERS)
        place = (stratum + np.repeat(rng.random(BLOCK_USERS), self.playlists)) / self.playlists
        theme = np.minimum((place[:, None] > edges).sum(axis=1), len(SCENE_SOUND) - 1)
        mood = rng.integers(0, len(MOODS), len(user))
        length = rng.integers(max(1, self.tracks // 2), self.tracks + self.tracks // 2 + 1, len(user))
        drawn = _Playlists(user, theme, mood, length)

        items = self._draw_items(rng, tastes, drawn).sort("playlist", "position")
        tracks = self.track_table[items["track"].to_numpy()].drop("artist", "scene", "tempo", *AUDIO_FEATURES)
        return (
            pl.concat([items.drop("track"), tracks], how="horizontal")
            .join(self._named(drawn, tastes, block), on="playlist", maintain_order="left")
            .with_columns(
                album_name=pl.lit(None, pl.String), plays=pl.lit(None, pl.Int64), artists=pl.concat_list("artist_name")
            )
            .select(RECORD_COLUMNS)
        )

    def _draw_items(self, rng: np.random.Generator, tastes: _Tastes, drawn: _Playlists) -> pl.DataFrame:
        """Draw the tracks of every playlist; return ``playlist, position, track`` (a row of the track table).

        The Gumbel top-k trick samples each playlist's tracks without repeats: adding Gumbel noise to log-weights and
        taking the largest k draws k without replacement (Kool, van Hoof, Welling, ICML 2019).
        """
        import polars as pl

        tracks = self.track_table
        sound = {name: tracks[name].to_numpy() for name in AUDIO_FEATURES}
        year, artist = tracks["release_year"].to_numpy(), tracks["artist"].to_numpy()
        appeal = tracks["popularity"].to_numpy() / 12
        parts = []
        for number, scene in enumerate(SCENE_SOUND):
            chosen = np.flatnonzero(drawn.theme == number)
            user = drawn.user[chosen]
            pool = np.flatnonzero((tracks["scene"] == scene).to_numpy())
            pull = np.stack([strength * sound[feature][pool] for _, feature, strength in MOODS])
            distance = (year[pool] - tastes.best_year[user, None]) / ERA_YEARS
            score = (
                appeal[pool]
                + tastes.favourites[user[:, None], artist[pool]]
                + pull[drawn.mood[chosen]]
                - distance**2 / 2
                + rng.gumbel(size=(len(chosen), len(pool)))
            )
            longest = min(self.tracks + self.tracks // 2, len(pool))
            top = np.argpartition(-score, longest - 1, axis=1)[:, :longest]
            keep = np.arange(longest) < drawn.length[chosen, None]
            rows = {
                "playlist": np.broadcast_to(chosen[:, None], keep.shape)[keep].astype(np.int32),
                "position": np.broadcast_to(np.arange(longest), keep.shape)[keep].astype(np.int32),
                "track": pool[top[keep]].astype(np.int32),
            }
            parts.append(pl.DataFrame(rows))
        return pl.concat(parts)

    def _named(self, drawn: _Playlists, tastes: _Tastes, block: int) -> pl.DataFrame:
        """Return the playlists of a block: their users, ids and names."""
        import polars as pl

        decade = (tastes.best_year[drawn.user] // 10 * 10).astype(int)
        scenes = np.array(list(SCENE_SOUND))[drawn.theme]
        moods = [MOODS[number][0] for number in drawn.mood]
        names = [f"{era}s {scene} {name}" for era, scene, name in zip(decade, scenes, moods, strict=True)]
        return pl.DataFrame(
            {
                "playlist": np.arange(len(drawn.user), dtype=np.int32),
                "user_id": [f"synthetic-{number + block * BLOCK_USERS:06d}" for number in drawn.user],
                "playlist_position": np.tile(np.arange(self.playlists, dtype=np.int32), BLOCK_USERS),
                "playlist_name": names,
            }
        ).with_columns(pl.format("{}-{}", "user_id", "playlist_position").alias("playlist_id"))


@dataclass(frozen=True)
class _Playlists:
    user: np.ndarray
    """``[playlists]``, the user in the block, as are the others: one number per playlist."""
    theme: np.ndarray
    """The scene, a number of `SCENE_SOUND`."""
    mood: np.ndarray
    """The mood, a number of `MOODS`."""
    length: np.ndarray
    """Items."""


@dataclass(frozen=True)
class _Tastes:
    mixture: np.ndarray
    """``[users, scenes]``, rows sum to 1."""
    favourites: np.ndarray
    """``[users, artists]``, log-weight of each artist for the user."""
    best_year: np.ndarray
    """``[users]``, the year around which the user's music was released."""


@cache
def _catalogue() -> pl.DataFrame:
    import polars as pl

    return (
        pl.read_csv(CATALOGUE.read_bytes())
        .with_row_index("number")
        .with_columns(
            pl.format("synthetic-artist-{}", "number").alias("artist_id"),
            pl.col("genres").str.split(";"),
        )
        .drop("number")
    )


@lru_cache(maxsize=4)
def track_table(seed: int) -> pl.DataFrame:
    """Return `SyntheticSource.track_table`: sources of one seed share it."""
    import polars as pl

    rng = np.random.default_rng([seed, 1])
    artists = _catalogue()
    artist = np.repeat(np.arange(artists.height), TRACKS_PER_ARTIST)
    rank = np.tile(np.arange(TRACKS_PER_ARTIST), artists.height)
    sound = np.array([SCENE_SOUND[scene] for scene in artists["scene"]])[artist]
    first, last = (artists[name].to_numpy()[artist] for name in ("first_year", "last_year"))
    popularity = artists["popularity"].to_numpy()[artist] - 6 * np.log1p(rank) + rng.normal(0, 3, len(artist))
    features = {
        name: np.clip(sound[:, column] + rng.normal(0, 0.12, len(artist)), 0, 1).astype(np.float32)
        for column, name in enumerate(AUDIO_FEATURES)
    }
    return pl.DataFrame(
        {
            "artist": artist.astype(np.int32),
            "track_id": [f"synthetic-track-{number}" for number in range(len(artist))],
            "track_name": _titles(rng, len(artist)),
            "release_year": rng.integers(first, last + 1).astype(np.int16),
            "popularity": np.clip(popularity, 0, 100).round().astype(np.float32),
            "explicit": rng.random(len(artist)) < sound[:, 7],
            **features,
            "tempo": np.clip(sound[:, 6] + rng.normal(0, 14, len(artist)), 50, 220).astype(np.float32),
        }
    ).with_columns(artists.select("artist_id", pl.col("name").alias("artist_name"), "scene")[artist].get_columns())


def _titles(rng: np.random.Generator, count: int) -> list[str]:
    moods = ["Golden", "Broken", "Silent", "Electric", "Lonely", "Velvet", "Burning", "Paper", "Midnight", "Distant"]
    things = ["River", "Mirror", "Highway", "Summer", "Ghost", "City", "Ocean", "Machine", "Garden", "Heart"]
    forms = ["{0} {1}", "The {1}", "{1} of the {0}", "{0} {1}, Pt. 2", "In a {0} {1}", "{1} Song", "My {0} {1}", "{0}"]
    picks = zip(rng.choice(forms, count), rng.choice(moods, count), rng.choice(things, count), strict=True)
    return [form.format(mood, thing) for form, mood, thing in picks]
