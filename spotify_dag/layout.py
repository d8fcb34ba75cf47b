"""How a data root is divided: into how many user buckets now, and into how many when it was made.

``layout.json`` says both. A split (`lifecycle.rebucket`) multiplies the number of buckets: bucket b of n becomes b,
b + n, b + 2n, … of k n. So bucket modulo ``made_with`` is the same before and after it. What need not be divided finer
(files of preferences, turns of a refresh, the order of users) goes by that, and no split touches it.

It stands outside `project`, because the stores ask it at every write.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache

from spotify_dag.errors import SpotifyDagError
from spotify_dag.files import file_version, read_own_json, write_atomically
from spotify_dag.root import Root
from spotify_dag.settings import Settings

DEFAULT_BUCKETS = 64
"""Of a new data root, unless SPOTIFY_DAG_N_BUCKETS says otherwise."""
LAYOUT = "layout.json"
_REMEDY = (
    "Put it back from a backup. Without one: delete it and set SPOTIFY_DAG_N_BUCKETS to what this data root was made "
    "with (64 if never set); if its buckets were split since, delete lake/ and vectors/, too, and run"
)


class LayoutError(SpotifyDagError):
    """The data root has another number of buckets. The message names both and the remedy."""


class LayoutChangedError(LayoutError):
    """The buckets were split since this process opened the data root."""


@dataclass(frozen=True)
class Layout:
    """The number of user buckets of a data root."""

    n_buckets: int
    made_with: int
    """The number when the root was made; it divides ``n_buckets`` and never changes."""

    def write(self, data: Root) -> None:
        """Make this the layout of a data root, in one step."""
        split = {} if self.made_with == self.n_buckets else {"made_with": self.made_with}
        write_atomically(data / LAYOUT, json.dumps({"n_buckets": self.n_buckets, **split}).encode())


@dataclass(frozen=True)
class _File:
    n_buckets: int
    made_with: int | None = None


def read_layout(data: Root) -> Layout | None:
    """Return the layout of a data root; None before it was used. It costs next to nothing.

    Raises
    ------
    DamagedFileError
        If the file is damaged.
    """
    version = file_version(data / LAYOUT)
    return _read(data / LAYOUT, *version) if version else None


@lru_cache(16)
def _read(file: Root, *_version: object) -> Layout | None:
    read = read_own_json(file, _File, _REMEDY)
    return Layout(read.n_buckets, read.made_with or read.n_buckets) if read else None


def layout_written_at(data: Root) -> float:
    """Return when a data root was divided as it is, in seconds since 1970; 0 before its first use."""
    file = data / LAYOUT
    return file.stat().st_mtime if file.exists() else 0.0


def layout_of(settings: Settings) -> Layout:
    """Return the layout of the data root of some settings; before its first use, the one that it will have.

    Raises
    ------
    LayoutError
        If ``SPOTIFY_DAG_N_BUCKETS`` is set to another number: users would be searched in the wrong buckets.
    """
    present, asked = read_layout(settings.data), settings.n_buckets
    if present is None:
        n_buckets = asked or DEFAULT_BUCKETS
        return Layout(n_buckets, n_buckets)
    if asked not in (None, present.n_buckets):
        raise LayoutError(
            f"{settings.data} has {present.n_buckets} user buckets, and SPOTIFY_DAG_N_BUCKETS says {asked}. Unset it: "
            "a data root remembers its own number. Or choose another SPOTIFY_DAG_DATA."
        )
    return present


def refuse_other_layout(data: Root, n_buckets: int) -> None:
    """Raise `LayoutChangedError` if a data root has another number of buckets than this process works with."""
    present = read_layout(data)
    if present is not None and present.n_buckets != n_buckets:
        raise LayoutChangedError(
            f"The {n_buckets} user buckets of {data} were split into {present.n_buckets} meanwhile. Do it again; a "
            "process that goes on for long must be started again: app, code server, daemon."
        )
