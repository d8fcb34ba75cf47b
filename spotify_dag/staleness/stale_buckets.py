"""Find stale data by comparing tables.

Each row says what it was made from (`content_hash`, `feature_version`, `model_version`). There is no cursor that could
be lost. After a kill at any moment the comparison finds what is missing. Rows are compared in buckets that were written
since they were compared last (`stores.bucket_state`): where nothing is new, no row is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from spotify_dag.features.embeddings import FEATURES_CODE
from spotify_dag.project import Project
from spotify_dag.schemas import AUDIO_FEATURES, INGESTS, TRACK_CATALOGUE, USER_EMBEDDINGS, USERS, user_buckets
from spotify_dag.sources.base import HasAudioFeatures, Source
from spotify_dag.sources.ingestion import source_versions
from spotify_dag.sources.read_once import ReadOnce
from spotify_dag.staleness.changed_tracks import AT_ONCE, catalogue_inputs, changed_buckets, made_from
from spotify_dag.stores.bucket_state import of_buckets
from spotify_dag.stores.index_digests import index_digests
from spotify_dag.stores.user_index import UserIndex
from spotify_dag.tower.gate import soundness
from spotify_dag.training_data.policy import may_be_trained_on, not_trained_on, trainable_counts

if TYPE_CHECKING:
    import polars as pl


GROWTH = 0.1
"""Share by which the catalogue or the number of playlist items may change before the continuation model is learned
anew."""
CATALOGUE_SHARE, CATALOGUE_USERS, CATALOGUE_AGE = 0.01, 2, timedelta(days=1)
"""When the catalogue takes in tracks of new users: if so large a share of all users and so many users are new, or if
the catalogue is so old. It is not made for every new user, because that reads everybody's listening."""


def known_users_versions(project: Project) -> list[str]:
    """Return, for each bucket, a fingerprint of what its sources hold for it."""
    versions: list[list[str]] = [[] for _ in range(project.lake.n_buckets)]
    for name, bucket, version in versions_of_sources(project, project.inbox.sources()):
        versions[bucket].append(f"{name}={version}")
    return [hashlib.sha256("|".join(parts).encode()).hexdigest()[:16] for parts in versions]


def feature_version(project: Project) -> str:
    """Return a fingerprint of all that embeddings depend on, besides the user: encoder, genre table, settings, code."""
    settings = project.settings
    parts = (
        FEATURES_CODE,
        project.encoder.digest,
        project.inbox.artist_genres_version(),
        settings.top_artist_count,
        settings.playlists_count,
    )
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:16]


def portable_features(project: Project) -> str:
    """Return a fingerprint of what weights depend on wherever they are used: the encoder, and the code of features."""
    return f"{FEATURES_CODE}-{project.encoder.digest}"


def fits_features(project: Project, card: Mapping[str, Any]) -> bool:
    """Return whether a model was trained for the features that users have now.

    One that was imported was trained with another table of genres, and other settings: it does with those here.
    """
    if "imported" in card:
        return card["imported"]["features"] == portable_features(project)
    return card["feature_version"] == feature_version(project)


def stale_ingests(project: Project, sources: Sequence[Source], buckets: Sequence[int] | None = None) -> list[int]:
    """Return the buckets, of some or of all, that were not read from the sources as they are now."""
    versions = _versions(project, sources, buckets)
    return _differing(versions, project.lake.scan(INGESTS, buckets).select(versions.columns).collect())


def read_once(project: Project, buckets: Sequence[int], of_others: set[int]) -> ReadOnce:
    """Return what a run of some buckets reads of sources beside runs that want others, so that each is read once."""

    def stale(source: Source) -> list[int]:
        import polars as pl

        versions = _versions(project, [source])
        read = project.lake.scan(INGESTS).filter(pl.col("source") == source.name)
        return _differing(versions, read.select(versions.columns).collect())

    lake = project.lake
    return ReadOnce(
        project.left_of_sources, lake.n_buckets, frozenset(buckets), frozenset(of_others), stale,
        project.tombstones.among, project.settings.profiles_count,
    )  # fmt: skip


def stale_features(project: Project, buckets: Sequence[int] | None = None) -> list[int]:
    """Return the buckets, of some or of all, whose user embeddings are old.

    Old embeddings were not made from the present users and preferences with the present settings.
    """
    lake, preferences, version = project.lake, project.preferences, feature_version(project)

    def fingerprints() -> dict[int, str]:
        said = preferences.fingerprints()
        files = lake.fingerprints((USERS, USER_EMBEDDINGS))
        return {bucket: f"{version} {files[bucket]} {said[bucket]}" for bucket in files}

    def is_stale(some: list[int]) -> dict[int, bool]:
        import polars as pl

        columns = ["user_bucket", "user_id", "content_hash", "feature_version"]
        users = preferences.hashed(lake.scan(USERS, some), some)
        users = users.with_columns(pl.lit(version).alias("feature_version"))
        embedded = lake.scan(USER_EMBEDDINGS, some)
        differing = _differing(users.select(columns).collect(), embedded.select(columns).collect())
        return {bucket: bucket in differing for bucket in some}

    stale = of_buckets(lake, "features", fingerprints, is_stale, buckets)
    return sorted(bucket for bucket, differs in stale.items() if differs)


def stale_index(project: Project, index: UserIndex, buckets: Sequence[int] | None = None) -> list[int]:
    """Return the buckets, of some or of all, whose rows in ``index`` are old.

    Old rows were not made from the present user embeddings, or have another opt-in than the table ``users``.
    """
    lake = project.lake

    def fingerprints() -> dict[int, str]:
        files, rows = lake.fingerprints((USERS, USER_EMBEDDINGS)), index_digests(lake, index)
        return {bucket: f"{files[bucket]} {rows[bucket]:016x}" for bucket in files}

    def is_stale(some: list[int]) -> dict[int, bool]:
        import polars as pl

        columns = ["user_bucket", "user_id", "content_hash", "feature_version", "opted_in"]
        embedded = lake.scan(USER_EMBEDDINGS, some).filter(pl.col("unembedded_reason").is_null())
        opted = lake.scan(USERS, some).select("user_id", "opted_in")
        expected = embedded.join(opted, on="user_id", how="left").select(columns).collect()
        differing = _differing(expected, index.rows(some).select(columns))
        return {bucket: bucket in differing for bucket in some}

    stale = of_buckets(lake, f"stale-{index.name}", fingerprints, is_stale, buckets)
    return sorted(bucket for bucket, differs in stale.items() if differs)


def tower_is_stale(project: Project) -> str | None:
    """Return why a tower has to be trained, or None.

    Reasons are: no tower, a training that was killed before the gate was asked, other features, or twice as many users
    as at the last training. A single new user is no reason.
    """
    version = project.registry.latest()
    if version is None:
        return "there is none"
    if damaged := project.registry.damaged(version):
        return damaged
    if project.registry.decision(version) is None and version != project.registry.champion():
        return "the gate was not asked about the last one"
    card = project.registry.card(version)
    if not fits_features(project, card):
        return "the features have changed"
    users = sum(trainable_counts(project).values())
    if users >= 2 * card["users_in_lake"]:
        return f"the base has grown from {card['users_in_lake']:,} to {users:,} users"
    return None


def index_version(project: Project) -> str | None:
    """Return the version to index users with, or None: the champion, if it was trained for the present features.

    Before there is a first champion, it is the version trained last, if that is sound: it is of more use than no
    answer. If the features changed and no tower for them is champion yet, it is None, and the published version goes on
    answering.
    """
    champion = project.registry.champion()
    version = champion or project.registry.latest()
    if version is None:
        return None
    card = project.registry.card(version)
    usable = fits_features(project, card)
    return version if usable and (champion or soundness(card["metrics"]).passed) else None


def indexed_versions(project: Project) -> list[str]:
    """Return the versions whose indexes take in new users: the published one, and last the one that will be published.

    While the index of a new champion is built, the published version still answers, also about new users.
    """
    version, published = index_version(project), project.published()
    if version is None or published in (None, version):
        return [version] if version else []
    usable = fits_features(project, project.registry.card(str(published)))
    return [str(published), version] if usable else [version]


def stale_audio(project: Project) -> dict[str, str | None]:
    """Return the sources whose audio features are stale, with their present version; None for a source that is gone."""
    versions = {
        source.name: source.version() for source in project.inbox.sources() if isinstance(source, HasAudioFeatures)
    }
    rows = project.lake.scan(AUDIO_FEATURES).select("source", "source_version").unique().collect()
    stored: dict[str, str] = dict(rows.iter_rows())
    changed = {name: version for name, version in versions.items() if stored.get(name) != version}
    return {**changed, **dict.fromkeys(stored.keys() - versions.keys())}


def stale_catalogue(project: Project) -> str | None:
    """Return why the catalogue of tracks must be brought up to date, or None. A few new users are no reason yet."""
    card, inputs = project.track_catalogue_card(), catalogue_inputs(project)
    before = made_from(card, inputs)
    if before is None or any(before.get(name) != inputs[name] for name in AT_ONCE):
        return "the catalogue of tracks was made by other rules" if card else "there is no catalogue of tracks"
    if before == inputs:
        return None
    made_at = datetime.fromisoformat(card["made_at"])
    if datetime.now(UTC) - made_at >= CATALOGUE_AGE:
        return "the catalogue of tracks is a day old, and users are new or changed"
    count = sum(project.lake.row_counts(USERS).values())
    new = _read_since(project, made_at, changed_buckets(before, inputs))
    return "tracks are new or changed" if new >= max(CATALOGUE_USERS, CATALOGUE_SHARE * count) else None


def _read_since(project: Project, since: datetime, buckets: list[int]) -> int:
    """Return how many users of some buckets were read since a time."""
    import polars as pl

    users = project.lake.scan(USERS, buckets).filter(pl.col("fetched_at") >= since)
    return int(users.select(pl.len()).collect().item())


def tracks_wait_until(project: Project) -> datetime | None:
    """Return the time until which tracks of new users wait at the longest; None if no tracks wait."""
    card = project.track_catalogue_card()
    inputs = catalogue_inputs(project)
    if "made_at" not in card or made_from(card, inputs) == inputs:
        return None
    return datetime.fromisoformat(card["made_at"]) + CATALOGUE_AGE


def stale_tracks(project: Project, *, train: bool = False) -> str | None:
    """Return why the tracks must be brought up to date, or None."""
    if stale_audio(project):
        return "audio features are new or changed"
    if reason := stale_catalogue(project):
        return reason
    if any(frame.height for frame in index_difference(project)):
        return "the track index is incomplete"
    if reason := stale_continuation(project):
        return f"the continuation model: {reason}"
    return "asked for" if train else None


def index_difference(project: Project) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows of the catalogue to write to the index, and the ``track_id`` of tracks to delete from it.

    ``content_hash`` depends on the track id, too. Only hashes are compared, so a few new tracks cost little.
    """
    import polars as pl

    index, catalogue = project.track_index, project.lake.scan(TRACK_CATALOGUE)
    indexed, present = index.column("content_hash"), catalogue.select("content_hash").collect()
    changed, gone = TRACK_CATALOGUE.empty(), pl.DataFrame(schema={"track_id": pl.String})
    missing = present.join(indexed, on="content_hash", how="anti")["content_hash"]
    if len(missing) == present.height:
        changed = catalogue.collect()
    elif len(missing):
        changed = catalogue.filter(pl.col("content_hash").is_in(missing.implode())).collect()
    if indexed.join(present, on="content_hash", how="anti").height:
        gone = index.column("track_id").join(catalogue.select("track_id").collect(), on="track_id", how="anti")
    return changed, gone


def stale_continuation(project: Project) -> str | None:
    """Return why the continuation model must be learned anew, or None.

    A new track is no reason: search finds it at once, and as a seed it counts by its artist, sound and name. A
    catalogue that changed by a tenth is a reason. So is a single user whose playlists are in the model and must leave
    it.
    """
    import polars as pl

    tracks, items = (
        project.lake.scan(TRACK_CATALOGUE).select(pl.len(), pl.col("playlists").cast(pl.Int64).sum()).collect().row(0)
    )
    if not tracks:
        return None
    card = project.track_model.card()
    if card is None:
        return "there is none"
    lost = sum(_lost_users(project).values())
    counts = {"catalogue": tracks, "items": items}
    reasons = {
        "the encoder has changed": card["encoder"] != project.encoder.digest,
        "SPOTIFY_DAG_TRAIN_ON_SPOTIFY has changed": card["train_on_spotify"] != project.settings.train_on_spotify,
        "SPOTIFY_DAG_TRAIN_ON_LASTFM has changed": card.get("train_on_lastfm", False)
        != project.settings.train_on_lastfm,
        f"{lost:,} users whose playlists are in it are gone, or may no longer be learned from": lost > 0,
        **{
            f"{name} went from {card[name]:,} to {now:,}": abs(now - card[name]) > GROWTH * card[name]
            for name, now in counts.items()
        },
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _lost_users(project: Project) -> dict[int, int]:
    """Return by bucket how many users of the continuation model are gone, or may no longer be learned from."""
    lake, without = project.lake, sorted(not_trained_on(project))
    learned = f"{project.track_model.users_version()} {without}"

    def fingerprints() -> dict[int, str]:
        return {bucket: f"{learned} {files}" for bucket, files in lake.fingerprints((USERS,)).items()}

    def lost(some: list[int]) -> dict[int, int]:
        import polars as pl

        users = project.track_model.users()
        # Of somebody who was forgotten a row without a name is left: it is lost in whichever bucket.
        named = users["user_id"].fill_null("").to_list()
        places = pl.Series("user_bucket", user_buckets(named, lake.n_buckets), dtype=pl.Int32)
        theirs = users.with_columns(places).filter(pl.col("user_bucket").is_in(some))
        allowed = lake.scan(USERS, some).filter(may_be_trained_on(project)).select("user_id").collect()
        gone = theirs.join(allowed, on="user_id", how="anti")["user_bucket"].value_counts()
        return dict.fromkeys(some, 0) | dict(gone.iter_rows())

    return of_buckets(lake, "continuation", fingerprints, lost)


def _versions(project: Project, sources: Sequence[Source], buckets: Sequence[int] | None = None) -> pl.DataFrame:
    """Return ``source, user_bucket, source_version`` as they are now, of some buckets or of all."""
    import polars as pl

    schema = {"source": pl.String, "user_bucket": pl.Int32, "source_version": pl.String}
    return pl.DataFrame(versions_of_sources(project, sources, buckets), schema=schema, orient="row")


def versions_of_sources(
    project: Project, sources: Sequence[Source], buckets: Sequence[int] | None = None
) -> list[tuple[str, int, str]]:
    """Return the name of the source, the bucket and the version, of some buckets or of all."""
    count, n_buckets = project.settings.profiles_count, project.lake.n_buckets
    return [
        (source.name, bucket, version)
        for source in sources
        for bucket, version in source_versions(
            source, n_buckets=n_buckets, profiles_count=count, buckets=buckets
        ).items()
    ]


def _differing(expected: pl.DataFrame, present: pl.DataFrame) -> list[int]:
    """Return the buckets in which two frames differ."""
    import polars as pl

    key = expected.columns
    missing = expected.join(present, on=key, how="anti", nulls_equal=True)
    surplus = present.join(expected, on=key, how="anti", nulls_equal=True)
    return sorted(pl.concat([missing["user_bucket"], surplus["user_bucket"]]).unique().to_list())
