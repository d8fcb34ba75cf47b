"""A digest of the rows of each bucket of a user index, found by reading the fragments that are new.

Lance keeps rows in fragments, whose files are never changed; rows that are deleted later are named in another file. So
the sums of a fragment are remembered by the names of its files. Sums do not depend on the order of rows. Compaction
moves rows and leaves the sums of buckets as they are.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from spotify_dag.root import Root
from spotify_dag.stores.bucket_state import FOLDER, read_state, write_state
from spotify_dag.stores.lance_files import newest_manifest
from spotify_dag.stores.lance_upkeep import opened
from spotify_dag.stores.told import COLUMN

if TYPE_CHECKING:
    from spotify_dag.stores.lake import Lake
    from spotify_dag.stores.user_index import UserIndex

COLUMNS = ("user_id", "user_bucket", "content_hash", "feature_version", "opted_in")
"""What rows are compared by: vectors follow from these."""


def state_file(lake: Lake, index_name: str) -> Root:
    """Return where the sums of an index are remembered."""
    return lake.root / FOLDER / f"{index_name}.json"


def index_digests(lake: Lake, index: UserIndex) -> dict[int, int]:
    """Return a sum of hashes of the rows of each bucket, modulo 2^64: 0 for a bucket without rows.

    A table that was not written since the last time costs one small file. Else its new fragments are read, without
    vectors.
    """
    folder = index.root / f"{index.name}.lance"
    manifest = newest_manifest(folder)
    sums = dict.fromkeys(range(lake.n_buckets), 0)
    if manifest is None:
        return sums
    file, version = state_file(lake, index.name), hashlib.sha256(manifest.read_bytes()).hexdigest()
    state = read_state(file)
    if state.get("manifest") != version:
        state |= {"manifest": version, "fragments": _fragments(folder, state.get("fragments", {}))}
        write_state(file, state)
    for by_bucket in state["fragments"].values():
        for bucket, hashed in by_bucket.items():
            # While buckets are split, rows may name the bucket they will be in.
            place = int(bucket) % lake.n_buckets
            sums[place] = (sums[place] + hashed) % 2**64
    return sums


def not_unit_length(lake: Lake, index: UserIndex, tolerance: float) -> int:
    """Return how many vectors of an index are not of length 1; what is not finite is none.

    Only the vectors of new fragments are read. Deleted rows count as long as their fragment is there.
    """
    file, known = state_file(lake, index.name), {}
    held = read_state(file).get("lengths", {})
    for fragment in opened(index.root / f"{index.name}.lance").get_fragments():
        named = json.dumps([part.path for part in fragment.metadata.files])
        known[named] = held[named] if named in held else _not_unit_length(fragment, tolerance)
    if known != held:
        write_state(file, {**read_state(file), "lengths": known})
    return sum(known.values())


def _not_unit_length(fragment: Any, tolerance: float) -> int:
    dim, count = fragment.schema.field("vector").type.list_size, 0
    for batch in fragment.to_batches(columns=["vector"]):
        vectors = batch["vector"].flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)
        lengths = np.linalg.norm(vectors.astype(np.float32), axis=1)
        count += int((~(np.abs(lengths - 1) <= tolerance)).sum())
    return count


def _fragments(folder: Root, held: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Return the sums by bucket of each fragment of the newest version; ``held`` are those that are known."""
    known = {}
    for fragment in opened(folder).get_fragments():
        about = fragment.metadata
        named = json.dumps([[file.path for file in about.files], about.deletion_file and about.deletion_file.asdict()])
        known[named] = held[named] if named in held else _sums(fragment)
    return known


def _sums(fragment: Any) -> dict[str, int]:
    import polars as pl

    columns = [name for name in COLUMNS if name in fragment.schema.names]
    rows = pl.DataFrame(pl.from_arrow(fragment.to_table(columns=columns)))
    if COLUMN not in fragment.schema.names:  # what an older version wrote is to be made again
        rows = rows.with_columns(feature_version=pl.lit(""))
    # A sum does not depend on the order of the rows. It may wrap around.
    compared = pl.struct([name for name in columns if name != "user_bucket"])
    hashed = rows.select("user_bucket", compared.hash().alias("hashed"))
    return {
        str(bucket): total for bucket, total in hashed.group_by("user_bucket").agg(pl.col("hashed").sum()).iter_rows()
    }
