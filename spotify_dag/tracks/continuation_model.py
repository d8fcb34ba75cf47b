"""The continuation model on disk: plain arrays mapped into memory, no pickle; one pointer says which version serves."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spotify_dag.errors import SpotifyDagError
from spotify_dag.files import delete_folder, file_version, names_in, read_own_json, write_atomically
from spotify_dag.root import ObjectPath, Root
from spotify_dag.tracks.candidates import FirstStage
from spotify_dag.tracks.continuation import Continuation
from spotify_dag.tracks.methods.ials import Ials
from spotify_dag.tracks.ranker import Ranker
from spotify_dag.tracks.track_arrays import Playlists, Tracks

if TYPE_CHECKING:
    import polars as pl

TRACK_ARRAYS = ("artist", "album", "song", "audio", "year", "popularity", "text", "genre_text")
FACTORS = {"factors": "tracks", "word_factors": "words", "artist_factors": "artists"}
"""Files of factors, and what in `Ials` they are."""
AUTOENCODER = "autoencoder"
"""File of `Autoencoder.inverse`."""
LAST_NUMBER = 2**63 - 1
LAYOUT = 4
"""Of a version on disk. One of another layout counts as none, and is learned anew."""
PLAYLIST_ARRAYS = ("indptr", "indices", "title", "title_vectors", "moods")
GENRE_ARRAYS = ("data", "indices", "indptr")
GENRE_FILES = tuple(f"genres_{name}" for name in GENRE_ARRAYS)
ARRAYS = (*TRACK_ARRAYS, *PLAYLIST_ARRAYS, *GENRE_FILES, *FACTORS, AUTOENCODER, "weights")
TABLES = ("tracks", "users", "titles")
"""Files of a version: arrays of numpy, and tables of Parquet."""


class NoTracksError(SpotifyDagError):
    """There is nothing yet to search or to continue with. The message says how to get it."""


@dataclass(frozen=True)
class TrackModel:
    """The versions under one root.

    Parameters
    ----------
    root
        Where they are.
    local
        Folder of copies of the arrays, which are mapped into memory, where the root is none. No names are in it.
    """

    root: Root
    local: Path | None = None

    def card(self) -> dict[str, Any] | None:
        """Return what is known of the version that serves: its name and what it was made from; None without one."""
        remedy = "Delete it: spotify-dag run learns the continuation of playlists again"
        card = read_own_json(self.root / "serving.json", dict[str, Any], remedy)
        return card if card and card.get("layout") == LAYOUT else None

    def save(self, model: Continuation, track_ids: pl.DataFrame, users: pl.DataFrame, card: dict[str, Any]) -> None:
        """Keep a model and make it serve; older versions are deleted.

        Parameters
        ----------
        model
            What was learned.
        track_ids
            ``track_id, artist_key, catalogue_number``, one row per track of the model, in its order.
        users
            ``user_id`` of everybody whose playlists are in it.
        card
            What it was made from.
        """
        import polars as pl

        tracks, playlists = model.stage.tracks, model.stage.playlists
        arrays = {name: getattr(tracks, name) for name in TRACK_ARRAYS}
        arrays |= {name: getattr(playlists, name) for name in PLAYLIST_ARRAYS}
        arrays |= {f"genres_{name}": getattr(tracks.genres, name) for name in GENRE_ARRAYS}
        arrays |= {name: getattr(model.stage.ials, part) for name, part in FACTORS.items()}
        arrays |= {AUTOENCODER: model.stage.autoencoder.inverse}
        # Without any, ranks are fused.
        arrays |= {"weights": np.empty((0, 0)) if model.ranker.weights is None else model.ranker.weights}
        self._local.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=self._local, prefix="model-"))
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
        pl.DataFrame({"title": playlists.titles.tolist()}, schema={"title": pl.String}).write_parquet(
            folder / "titles.parquet"
        )
        track_ids.write_parquet(folder / "tracks.parquet")
        users.write_parquet(folder / "users.parquet")
        if isinstance(self.root, ObjectPath):
            _put(folder, self.root / folder.name)
        card = {**card, "layout": LAYOUT, "version": folder.name, "tracks": len(tracks), "playlists": len(playlists)}
        write_atomically(self.root / "serving.json", json.dumps(card, indent=2).encode())
        for place in (self.root, self._local):
            _delete_others(place, folder.name)

    def damaged(self) -> str | None:
        """Say which file of the version that serves is gone or cut short; None where all are whole."""
        import polars as pl

        if not self.card():
            return None
        folder = self._serving
        if isinstance(folder, ObjectPath):  # what was put is whole
            files = [*(f"{name}.npy" for name in ARRAYS), *(f"{name}.parquet" for name in TABLES)]
            gone = set(files) - set(names_in(folder))
            return f"{folder / min(gone)} is gone" if gone else None
        for name in ARRAYS:
            try:
                np.load(folder / f"{name}.npy", mmap_mode="r")
            except (OSError, ValueError, EOFError) as error:
                return f"{folder / name}.npy cannot be read: {error}"
        for name in TABLES:
            try:
                pl.scan_parquet(folder / f"{name}.parquet").collect_schema()
            except (OSError, pl.exceptions.PolarsError) as error:
                return f"{folder / name}.parquet cannot be read: {error}"
        return None

    def withdraw(self) -> None:
        """Let no version serve: the next run learns one."""
        (self.root / "serving.json").unlink(missing_ok=True)

    def array(self, name: str) -> np.ndarray:
        """Return one array of the version that serves, mapped into memory.

        Raises
        ------
        NoTracksError
            If there is none.
        """
        return _array(self._arrays(self._serving, [name]), name)

    def users(self) -> pl.DataFrame:
        """Return the ``user_id`` of everybody whose playlists are in the version that serves.

        Raises
        ------
        NoTracksError
            If there is none.
        """
        return _table(self._serving, "users")

    def users_version(self) -> tuple[object, ...]:
        """Return what differs once `users` does; nothing without a version that serves. The file is not read."""
        card = self.card()
        return file_version(self.root / card["version"] / "users.parquet") if card else ()

    def forget(self, user_id: str) -> int:
        """Take the id of a user out of what it was learned from; return 1, or 0 if it is not there.

        A nameless row stays in its place: somebody is missing from now on, so the model is learned anew.
        """
        import polars as pl

        taken = 0
        for file in self.root.glob("*/users.parquet"):
            users = pl.read_parquet(file.read_bytes())
            if user_id in users["user_id"]:
                named = pl.col("user_id")
                content = io.BytesIO()
                users.select(pl.when(named != user_id).then(named).alias("user_id")).write_parquet(content)
                write_atomically(file, content.getvalue())
                taken = 1
        return taken

    def forget_names(
        self, unheld: Callable[[str, pl.DataFrame, list[str]], pl.DataFrame], *, write: bool = True
    ) -> int:
        """Take names that nobody has out of what the model says its numbers are; return how many rows have such names.

        ``unheld`` is `HeldNames.unheld`. Rows stay in their place. Without ``write`` they are only counted.
        """
        import polars as pl

        taken = 0
        for file in self.root.glob("*/tracks.parquet"):
            rows = pl.read_parquet(file.read_bytes())
            is_gone = {}
            for name, kind in (("track_id", "track"), ("artist_key", "artist")):
                names = unheld(kind, rows.select(name).drop_nulls().unique(), [name])[name]
                is_gone[name] = pl.col(name).is_in(names.implode()).fill_null(value=False)
            count = rows.filter(pl.any_horizontal(*is_gone.values())).height
            if count and write:
                content = io.BytesIO()
                blanked = (pl.when(~gone).then(name).alias(name) for name, gone in is_gone.items())
                rows.with_columns(blanked).write_parquet(content)
                write_atomically(file, content.getvalue())
            taken += count
        return taken

    def load(self) -> LoadedModel:
        """Return the version that serves.

        Raises
        ------
        NoTracksError
            If there is none.
        """
        while True:
            folder = self._serving
            try:
                return _load(folder, self._arrays(folder, ARRAYS))
            except FileNotFoundError:
                if folder == self._serving:  # else another version came while this one was read
                    raise

    @property
    def _serving(self) -> Root:
        card = self.card()
        if card is None:
            raise NoTracksError(
                "There are no tracks to continue with yet. Run: spotify-dag run --source spotify-songs …"
            )
        return self.root / card["version"]

    @property
    def _local(self) -> Path:
        return self.root if isinstance(self.root, Path) else Path(self.local or "")

    def _arrays(self, folder: Root, names: Sequence[str]) -> Path:
        """Return the folder with some arrays of a version; they are fetched to this machine if they are not here."""
        if isinstance(folder, Path):
            return folder
        copies = self._local / folder.name
        missing = [name for name in names if not (copies / f"{name}.npy").is_file()]
        for name in missing:
            write_atomically(copies / f"{name}.npy", (folder / f"{name}.npy").read_bytes())
        if missing:
            _delete_others(self._local, folder.name)
        return copies


@dataclass(frozen=True)
class LoadedModel:
    """A model, and which track each of its numbers is."""

    version: str
    model: Continuation
    track_ids: pl.DataFrame
    """``track_id, artist_key, catalogue_number``, in the order of the model."""

    def numbers(self, track_ids: Sequence[str]) -> dict[str, int]:
        """Return the numbers of those of some tracks that the model has."""
        return self._places("track_id", track_ids)

    def artists(self, artist_keys: Sequence[str]) -> dict[str, int]:
        """Return the numbers of those of some artists that the model has."""
        rows = self._places("artist_key", artist_keys)
        return {key: int(self.model.stage.tracks.artist[row]) for key, row in rows.items()}

    def catalogue_numbers(self, numbers: Sequence[int]) -> dict[int, int]:
        """Return the numbers of the tracks of some catalogue numbers."""
        return self._places("catalogue_number", [number for number in numbers if 0 <= number <= LAST_NUMBER])

    def _places(self, column: str, values: Sequence[Any]) -> dict[Any, int]:
        import polars as pl

        places = self.track_ids.select(column, pl.int_range(pl.len()).alias("place")).filter(
            pl.col(column).is_in(list(values))
        )
        return dict(places.unique(column, keep="first").iter_rows())


def _array(folder: Path, name: str) -> np.ndarray:
    return np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)


def _table(folder: Root, name: str) -> pl.DataFrame:
    import polars as pl

    file = folder / f"{name}.parquet"
    return pl.read_parquet(file if isinstance(file, Path) else io.BytesIO(file.read_bytes()))


def _delete_others(root: Root, version: str) -> None:
    for old in root.glob("model-*"):
        if old.name != version:
            with suppress(OSError):
                delete_folder(old)


def _put(folder: Path, there: ObjectPath) -> None:
    """Put the files of a version into object storage; the tables, which have names in them, do not stay here."""
    for file in sorted(folder.iterdir()):
        (there / file.name).write(file)
    for name in TABLES:
        (folder / f"{name}.parquet").unlink()


def _load(folder: Root, arrays: Path) -> LoadedModel:
    from scipy.sparse import csr_matrix

    loaded = {name: _array(arrays, name) for name in TRACK_ARRAYS}
    parts = tuple(_array(arrays, f"genres_{name}") for name in GENRE_ARRAYS)
    genres = csr_matrix(parts, shape=(len(parts[2]) - 1, len(loaded["genre_text"])))
    titles = _table(folder, "titles")["title"].to_numpy()
    playlists = Playlists(titles=titles, **{name: _array(arrays, name) for name in PLAYLIST_ARRAYS})
    weights = _array(arrays, "weights")
    ials = Ials(_array(arrays, "factors"), _array(arrays, "word_factors"), _array(arrays, "artist_factors"))
    stage = FirstStage.of(Tracks(genres=genres, **loaded), playlists, ials, _array(arrays, AUTOENCODER))
    model = Continuation(stage, Ranker(weights if len(weights) else None))
    return LoadedModel(folder.name, model, _table(folder, "tracks"))
