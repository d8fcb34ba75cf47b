"""Answer who listens like whom, and why, from the published index and the lake. Needs no Dagster and no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spotify_dag.errors import SpotifyDagError
from spotify_dag.recommend.explain import Explanation, explain
from spotify_dag.resources.lake import Lake
from spotify_dag.resources.registry import NoModelError
from spotify_dag.resources.vectors import UserIndex
from spotify_dag.schemas import USER_EMBEDDINGS, USER_TASTES, USERS, user_buckets


class UnknownUserError(SpotifyDagError):
    """A user that is not known, or cannot be matched. The message says why and what to do."""


@dataclass(frozen=True)
class Match:
    """Another user with the cosine of the two user vectors (-1 to 1) and why."""

    user_id: str
    score: float
    why: Explanation

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"user_id": self.user_id, "score": round(self.score, 6), **self.why.as_dict()}


@dataclass(frozen=True)
class Matcher:
    """Matches by the published user index: one answer is wholly of one model version."""

    lake: Lake
    vectors: Path

    def index(self) -> UserIndex:
        """Return the published user index.

        Raises
        ------
        NoModelError
            If none was published yet.
        """
        index = UserIndex.published(self.vectors)
        if index is None:
            raise NoModelError("There is no model yet. Make one with: spotify-dag run --source synthetic")
        return index

    def recommend(self, user_ids: Sequence[str], k: int, limit: int | None = 10) -> tuple[str, list[list[Match]]]:
        """Return the model version, and for each user the ``k`` nearest other users, best first.

        Raises
        ------
        UnknownUserError
            If one of the users is not in the index.
        """
        import numpy as np

        index = self.index()
        found = index.vectors(user_ids)
        for user in user_ids:
            if user not in found:
                raise UnknownUserError(self._why_not(user))
        # One more than asked for: the nearest is usually the user.
        answers = index.nearest(np.stack([found[user] for user in user_ids]), k + 1)
        others = [
            [pair for pair in answer if pair[0] != user][:k] for user, answer in zip(user_ids, answers, strict=True)
        ]
        tastes = self._tastes({*user_ids, *(other for answer in others for other, _ in answer)})
        return index.model_version, [
            [
                Match(other, score, why)
                for (other, score), why in zip(
                    answer, explain(tastes, user, [other for other, _ in answer], limit), strict=True
                )
            ]
            for user, answer in zip(user_ids, others, strict=True)
        ]

    def compare(self, user_id: str, other: str, limit: int | None = None) -> tuple[str, Match]:
        """Return the model version, and how a user matches any other.

        Raises
        ------
        UnknownUserError
            If one of them is not in the index.
        """
        index = self.index()
        found = index.vectors([user_id, other])
        for user in (user_id, other):
            if user not in found:
                raise UnknownUserError(self._why_not(user))
        score = float(found[user_id] @ found[other])
        return index.model_version, Match(
            other, score, explain(self._tastes({user_id, other}), user_id, [other], limit)[0]
        )

    def _tastes(self, user_ids: set[str]) -> Any:
        import polars as pl

        users = sorted(user_ids)
        buckets = sorted(set(user_buckets(users, self.lake.n_buckets)))
        return self.lake.scan(USER_TASTES, buckets).filter(pl.col("user_id").is_in(users)).collect()

    def _why_not(self, user_id: str) -> str:
        import polars as pl

        bucket = user_buckets([user_id], self.lake.n_buckets)
        row = self.lake.scan(USER_EMBEDDINGS, bucket).filter(pl.col("user_id") == user_id)
        reason = row.select("unembedded_reason").collect()["unembedded_reason"].to_list()
        if reason and reason[0]:
            return f"User '{user_id}' cannot be matched: {reason[0]}."
        if reason:
            return f"User '{user_id}' is not in the index yet. Bring it up to date with: spotify-dag run"
        ids = self.lake.scan(USERS).select("user_id")
        like = ids.filter(pl.col("user_id").str.ends_with(f"-{user_id}")).head(3).collect()["user_id"].to_list()
        hint = f"Did you mean {' or '.join(like)}?" if like else (
            'See who is known with: spotify-dag sql "select user_id from users"'
        )  # fmt: skip
        return f"Unknown user '{user_id}'. {hint}"
