"""``spotify-dag evaluate --rival listenbrainz``: our similar users beside those that ListenBrainz publishes."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import numpy as np

from spotify_dag.project import Project
from spotify_dag.sources.base import SourceError
from spotify_dag.sources.listenbrainz.names import PREFIX, parse_name, user_id_of

MOST_ASKED = 500
"""Users whose similar users are asked for: one request each."""
RIVAL = "listenbrainz"


def evaluate_rival(project: Project) -> dict[str, Any]:
    """Return ``protocol`` and ``rows``: how well the similar users of each method predict held-out artists.

    Each who asks is known by one half of their listening. ListenBrainz has seen both halves, so its figure is too good;
    its method without the other half, the cosine of counts, stands beside it. Everybody who may be found is a user of
    ListenBrainz that is known here.

    Raises
    ------
    SourceError
        If there are no users of ListenBrainz here, or no tower.
    """
    from spotify_dag.tower.evaluation import dataset, held_out
    from spotify_dag.tower.rival import nearest, usefulness
    from spotify_dag.tower.user_baselines import encoders
    from spotify_dag.training_data.listening import training_users

    version = project.published() or project.registry.latest()
    if version is None:
        raise SourceError("There is no tower to compare. Train one with: spotify-dag run")
    users = training_users(project)
    data_set = dataset(users, halvings=(), friends=np.empty((0, 2), np.int64), seed=project.settings.seed)
    ids = users.users["user_id"].to_list()
    known = np.array([row for row in data_set.usable if ids[row].startswith(PREFIX)], np.int64)
    if len(known) < 2:
        raise SourceError(
            f"--rival {RIVAL} needs users of ListenBrainz: spotify-dag run --source listenbrainz --path USERS.txt"
        )
    tested = held_out(ids)
    unseen = bool(tested[known].any())
    asking = known[tested[known]][:MOST_ASKED] if unseen else known[:MOST_ASKED]
    place = {ids[row]: number for number, row in enumerate(known)}
    published = _published(project, [ids[row] for row in asking])
    rival = [[place[similar_id] for similar_id in published.get(ids[row], []) if similar_id in place] for row in asking]
    answered = np.array([bool(similar) for similar in rival], bool)
    asking, rival = asking[answered], [similar for similar in rival if similar]
    own = np.array([place[ids[row]] for row in asking], np.int64)
    model = encoders(project.registry.load(version), data_set.catalogue)
    first, whole = data_set.first.take(asking), data_set.whole.take(known)
    counts = _unit(first.counts) @ _unit(whole.counts).T
    lists = {
        RIVAL: rival,
        "cosine of counts": nearest(counts.toarray(), own),
        "tower": nearest(np.asarray(model.query(first) @ model.gallery(whole).T), own),
        "random": np.random.default_rng(0).permuted(_others(own, len(known)), axis=1).tolist(),
    }
    answers = usefulness(
        lists, first.listening.artists, data_set.second.listening.artists[asking], whole.listening.artists
    )
    return {
        "protocol": {
            "users": len(known), "users_asked": len(asking), "without_published_similar_users": int((~answered).sum()),
            "held_out_from_training": unseen, "model_version": version,
        },
        "rows": [{"model": name, **row} for name, row in answers.items()],
    }  # fmt: skip


def _published(project: Project, user_ids: list[str]) -> dict[str, list[str]]:
    """Return the ids of the users that ListenBrainz finds similar to each of some users."""
    from spotify_dag.sources.listenbrainz import ListenBrainzSource
    from spotify_dag.sources.listenbrainz.client import ListenBrainzClient
    from spotify_dag.sources.request_ledger import WindowLedger
    from spotify_dag.sources.service_errors import GoneError
    from spotify_dag.sources.user_mirror import UserMirror

    path = ListenBrainzSource.path_of(project.settings)
    answers = {}
    with closing(UserMirror.open(path)) as mirror:
        client = ListenBrainzClient.of(project.settings, WindowLedger(mirror.database))
        for user_id in user_ids:
            try:
                similar = client.similar_users(parse_name(user_id))
            except GoneError:
                continue
            answers[user_id] = [user_id_of(name) for name, _ in similar]
    return answers


def _others(own: np.ndarray, count: int) -> np.ndarray:
    """Return for each user all others, ``[queries, count - 1]``."""
    everybody = np.tile(np.arange(count), (len(own), 1))
    return everybody[everybody != own[:, None]].reshape(len(own), count - 1)


def _unit(counts: Any) -> Any:
    from sklearn.preprocessing import normalize

    return normalize(counts.astype(float))
