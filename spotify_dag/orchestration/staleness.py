"""What is stale, read from the data itself.

Each row says what it was made from (`content_hash`, `feature_version`, `model_version`), so what is left to do follows
from comparing tables. There is no cursor to lose: after a kill at any moment the comparison names what is missing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from spotify_dag.features.embeddings import FEATURES_CODE
from spotify_dag.resources.policy import trainable_users
from spotify_dag.resources.project import Project
from spotify_dag.resources.vectors import UserIndex
from spotify_dag.schemas import INGESTS, USER_EMBEDDINGS, USERS
from spotify_dag.sources.base import Source
from spotify_dag.sources.ingestion import source_versions
from spotify_dag.tower.gate import soundness

if TYPE_CHECKING:
    import polars as pl


def known_users_versions(project: Project) -> list[str]:
    """Return, for each bucket, a fingerprint of everything handed in for it."""
    versions: list[list[str]] = [[] for _ in range(project.lake.n_buckets)]
    for name, bucket, version in _source_versions(project, project.inbox.sources()):
        versions[bucket].append(f"{name}={version}")
    return [hashlib.sha256("|".join(found).encode()).hexdigest()[:16] for found in versions]


def feature_version(project: Project) -> str:
    """Return a fingerprint of all that decides what a user's embeddings are, besides the user."""
    settings = project.settings
    parts = (
        FEATURES_CODE,
        project.encoder.digest,
        project.inbox.artist_genres_version(),
        settings.top_artist_count,
        settings.playlists_count,
    )
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:16]


def stale_ingests(project: Project, sources: Sequence[Source]) -> list[int]:
    """Return the buckets that were not read from the sources as they are now."""
    import polars as pl

    schema = {"source": pl.String, "user_bucket": pl.Int32, "source_version": pl.String}
    wanted = pl.DataFrame(_source_versions(project, sources), schema=schema, orient="row")
    return _differing(wanted, project.lake.scan(INGESTS).select(wanted.columns).collect())


def stale_features(project: Project) -> list[int]:
    """Return the buckets whose user embeddings were not made from the present users with the present settings."""
    import polars as pl

    columns = ["user_bucket", "user_id", "content_hash", "feature_version"]
    version = feature_version(project)
    users = project.lake.scan(USERS).with_columns(pl.lit(version).alias("feature_version")).select(columns).collect()
    return _differing(users, project.lake.scan(USER_EMBEDDINGS).select(columns).collect())


def stale_index(project: Project, index: UserIndex) -> list[int]:
    """Return the buckets whose vectors in ``index`` were not made from the present user embeddings."""
    import polars as pl

    columns = ["user_bucket", "user_id", "content_hash", "feature_version"]
    embedded = (
        project.lake.scan(USER_EMBEDDINGS).filter(pl.col("unembedded_reason").is_null()).select(columns).collect()
    )
    return _differing(embedded, index.rows().select(columns))


def tower_is_stale(project: Project) -> str | None:
    """Return why a tower has to be trained, or None.

    A new user does not retrain the tower; a base that has doubled since, or other features, do. So does a training
    that was killed before the gate was asked.
    """
    import polars as pl

    version = project.registry.latest()
    if version is None:
        return "there is none"
    if project.registry.decision(version) is None and version != project.registry.champion():
        return "the gate was not asked about the last one"
    card = project.registry.card(version)
    if card["feature_version"] != feature_version(project):
        return "the features have changed"
    users = trainable_users(project).select(pl.len()).collect().item()
    if users >= 2 * card["users_in_lake"]:
        return f"the base has grown from {card['users_in_lake']:,} to {users:,} users"
    return None


def index_version(project: Project) -> str | None:
    """Return the version to index users with: the champion, if it was trained for the features they have now.

    Before there is a first champion, the version trained last answers, if it is sound: a challenger that lost to a
    baseline is of more use than nothing, and the gate still decides who is champion. Where the features changed and no
    tower for them became champion, what is published goes on answering.
    """
    champion = project.registry.champion()
    version = champion or project.registry.latest()
    if version is None:
        return None
    card = project.registry.card(version)
    usable = card["feature_version"] == feature_version(project)
    return version if usable and (champion or soundness(card["metrics"]).passed) else None


def indexed_versions(project: Project) -> list[str]:
    """Return the versions whose indexes take in new users: the one that answers, and last the one that is to.

    While the index of a new champion is built, the one before goes on answering, about new users too.
    """
    version, published = index_version(project), project.published()
    if version is None or published in (None, version):
        return [version] if version else []
    usable = project.registry.card(str(published))["feature_version"] == feature_version(project)
    return [str(published), version] if usable else [version]


def _source_versions(project: Project, sources: Sequence[Source]) -> list[tuple[str, int, str]]:
    count, n_buckets = project.settings.profiles_count, project.lake.n_buckets
    return [
        (source.name, bucket, version)
        for source in sources
        for bucket, version in source_versions(source, n_buckets=n_buckets, profiles_count=count).items()
    ]


def _differing(wanted: pl.DataFrame, present: pl.DataFrame) -> list[int]:
    """Return the buckets in which two frames do not hold the same rows."""
    import polars as pl

    key = wanted.columns
    missing = wanted.join(present, on=key, how="anti")
    surplus = present.join(wanted, on=key, how="anti")
    return sorted(pl.concat([missing["user_bucket"], surplus["user_bucket"]]).unique().to_list())
