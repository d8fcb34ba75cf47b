"""Match users by the published index, and explain matches from the lake. No Dagster, no network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from spotify_dag.errors import SpotifyDagError
from spotify_dag.matching.explain import Explanation, explain
from spotify_dag.root import Root
from spotify_dag.schemas import USER_EMBEDDINGS, USER_TASTES, USERS, buckets_of
from spotify_dag.stores.lake import Lake
from spotify_dag.stores.model_registry import NoModelError
from spotify_dag.stores.user_index import UserIndex
from spotify_dag.tower.factors import unit
from spotify_dag.tower.score import ScoreScale

Answer = TypeVar("Answer")
ATTEMPTS = 3
"""How often a question is asked if its files are deleted while it is answered. Each attempt opens the present files."""


class UnknownUserError(SpotifyDagError):
    """A user who is not known, or cannot be matched. The message says why and what to do."""


class PrivateUserError(UnknownUserError):
    """A user who did not agree to be shown to others."""


@dataclass(frozen=True)
class Match:
    """Another user, how alike the two are, and why."""

    user_id: str
    score: float
    """Cosine of the two user vectors, -1 to 1."""
    percent: float
    """Share of random pairs of users who are less alike, 0 to 100."""
    confidence: float
    """How far the score can be trusted, 0 to 1; low if little is known of one of the users."""
    why: Explanation
    source: str = ""
    """Where the listening of that user comes from, if it is known here."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "user_id": self.user_id,
            "score": round(self.score, 6),
            "percent": round(self.percent, 3),
            "confidence": round(self.confidence, 3),
            **self.why.as_dict(),
        }


@dataclass(frozen=True)
class Matcher:
    """Matches users by the published user index. All of an answer comes from one model version."""

    lake: Lake
    vectors: Root

    def index(self) -> tuple[UserIndex, ScoreScale]:
        """Return the published user index, and the scale that turns its cosines into percentages.

        Raises
        ------
        NoModelError
            If no version is published yet.
        """
        published = UserIndex.published(self.vectors)
        if published is None:
            raise NoModelError("There is no model yet. Make one with: spotify-dag run --source synthetic")
        index, scale = published
        return replace(index, n_buckets=self.lake.n_buckets), scale

    def recommend(self, user_ids: Sequence[str], k: int, limit: int | None = 10) -> tuple[str, list[list[Match]]]:
        """Return the model version, and for each user the ``k`` nearest other users who opted in, best first.

        Parameters
        ----------
        user_ids
            The users who ask.
        k
            Number of matches per user; fewer if not so many users opted in.
        limit
            At most this many entries per list of an explanation; None for all.

        Raises
        ------
        UnknownUserError
            If one of the users is not in the index.
        """
        return asked_again(lambda: self._recommend(user_ids, k, limit))

    def _recommend(self, user_ids: Sequence[str], k: int, limit: int | None) -> tuple[str, list[list[Match]]]:
        index, scale = self.index()
        vectors = index.vectors(user_ids)
        for user in user_ids:
            if user not in vectors:
                raise UnknownUserError(self._why_not(user))
        others = self._nearest_shown(index, user_ids, np.stack([vectors[user] for user in user_ids]), k)
        users = {*user_ids, *(other for answer in others for other, _ in answer)}
        tastes, tracks = self._tastes(users), self._tracks(users)
        return index.model_version, [
            [
                self._match(scale, tracks, user, other, score, why)
                for (other, score), why in zip(
                    answer, explain(tastes, user, [other for other, _ in answer], limit), strict=True
                )
            ]
            for user, answer in zip(user_ids, others, strict=True)
        ]

    def compare(
        self, user_id: str, other: str, limit: int | None = None, *, asking: str | None = None
    ) -> tuple[str, Match]:
        """Return the model version, and the match of two users.

        Parameters
        ----------
        user_id, other
            The two users. The match is seen from the side of ``user_id``.
        limit
            At most this many entries per list of the explanation; None for all.
        asking
            The one of the two who asks, by default ``user_id``. That user may be private, the other may not.

        Raises
        ------
        UnknownUserError
            If one of them is not in the index.
        PrivateUserError
            If the user who does not ask did not opt in.
        """
        return asked_again(lambda: self._compare(user_id, other, limit, asking or user_id))

    def _compare(self, user_id: str, other: str, limit: int | None, asking: str) -> tuple[str, Match]:
        index, scale = self.index()
        vectors = index.vectors([user_id, other])
        for user in (user_id, other):
            if user not in vectors:
                raise UnknownUserError(self._why_not(user))
        for user in {user_id, other} - {asking} - self._shown([user_id, other]):
            raise PrivateUserError(f"User '{user}' is private: they have not agreed to be shown to others.")
        mine, theirs = unit(np.stack([vectors[user_id], vectors[other]]))
        score = float(mine @ theirs)
        why = explain(self._tastes({user_id, other}), user_id, [other], limit)[0]
        tracks = self._tracks({user_id, other})
        return index.model_version, self._match(scale, tracks, user_id, other, score, why)

    def _nearest_shown(
        self, index: UserIndex, user_ids: Sequence[str], vectors: Any, k: int
    ) -> list[list[tuple[str, float]]]:
        """Return for each user the ``k`` nearest other users who opted in, as the lake has it now.

        The index has the opt-in of the time when a bucket was indexed. Users who changed their mind since then are left
        out here, and more users are searched in their place.
        """
        count = k + 1  # one more than asked for: the nearest is usually the user
        while True:
            answers = index.nearest(vectors, count)
            opted_in = self._shown({other for answer in answers for other, _ in answer})
            others = [
                [pair for pair in answer if pair[0] != user and pair[0] in opted_in]
                for user, answer in zip(user_ids, answers, strict=True)
            ]
            enough = (len(shown) >= k or len(answer) < count for shown, answer in zip(others, answers, strict=True))
            if all(enough):
                return [shown[:k] for shown in others]
            count *= 2

    def _shown(self, user_ids: Iterable[str]) -> set[str]:
        """Return those of the users who opted in."""
        import polars as pl

        users = sorted(user_ids)
        buckets = buckets_of(users, self.lake.n_buckets)
        rows = self.lake.scan(USERS, buckets).filter(pl.col("user_id").is_in(users) & pl.col("opted_in"))
        return set(rows.select("user_id").collect()["user_id"])

    @staticmethod
    def _match(
        scale: ScoreScale, tracks: dict[str, int], user: str, other: str, score: float, why: Explanation
    ) -> Match:
        trust = scale.confidence(tracks.get(user, 0), tracks.get(other, 0))
        return Match(other, score, float(scale.percent(score)), float(trust), why)

    def _tracks(self, user_ids: set[str]) -> dict[str, int]:
        """Return the number of playlist items of each user."""
        import polars as pl

        users = sorted(user_ids)
        buckets = buckets_of(users, self.lake.n_buckets)
        rows = self.lake.scan(USER_EMBEDDINGS, buckets).filter(pl.col("user_id").is_in(users))
        return dict(rows.select("user_id", "tracks").collect().iter_rows())

    def _tastes(self, user_ids: set[str]) -> Any:
        """Return the rows of `schemas.USER_TASTES` of some users."""
        import polars as pl

        users = sorted(user_ids)
        buckets = buckets_of(users, self.lake.n_buckets)
        return self.lake.scan(USER_TASTES, buckets).filter(pl.col("user_id").is_in(users)).collect()

    def _why_not(self, user_id: str) -> str:
        """Return why a user cannot be matched, and what to do."""
        import polars as pl

        bucket = buckets_of([user_id], self.lake.n_buckets)
        row = self.lake.scan(USER_EMBEDDINGS, bucket).filter(pl.col("user_id") == user_id)
        reason = row.select("unembedded_reason").collect()["unembedded_reason"].to_list()
        if reason and reason[0]:
            return f"User '{user_id}' cannot be matched: {reason[0]}."
        if reason:
            return f"User '{user_id}' is not in the index yet. Bring it up to date with: spotify-dag run"
        ids = self.lake.scan(USERS).filter("opted_in").select("user_id")
        like = ids.filter(pl.col("user_id").str.ends_with(f"-{user_id}")).head(3).collect()["user_id"].to_list()
        hint = f"Did you mean {' or '.join(like)}?" if like else (
            'See who is known with: spotify-dag sql "select user_id from users"'
        )  # fmt: skip
        return f"Unknown user '{user_id}'. {hint}"


def asked_again(ask: Callable[[], Answer]) -> Answer:
    """Return an answer. Ask again if files were deleted meanwhile, for example because a user was forgotten."""
    for _ in range(ATTEMPTS - 1):
        try:
            return ask()
        except SpotifyDagError:
            raise
        except Exception as error:
            # Polars, Delta and Lance raise different errors for a missing file.
            if not any(sign in str(error).lower() for sign in ("not found", "no such file", "does not exist")):
                raise
    return ask()
