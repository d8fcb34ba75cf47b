"""The gate: which challenger may become champion. Numbers in, a decision with its reasons out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

COLLAPSE = 0.5
"""Mean cosine of random pairs above which user vectors say nothing about their users."""
TOLERATED_LOSS = 0.01
"""Share of the champion's friend AUC and coverage that a challenger may lose."""


@dataclass(frozen=True)
class Check:
    """One thing asked of a challenger."""

    name: str
    value: float | None
    """The challenger's number; None where it has none, or one that is not finite."""
    bound: float | None
    """What it is held against; None where there is nothing to hold it against, or that is not finite."""
    passed: bool
    sentence: str


@dataclass(frozen=True)
class Decision:
    """What the gate says of a challenger, check by check."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether the challenger may become champion."""
        return all(check.passed for check in self.checks)

    @property
    def summary(self) -> str:
        """The decision in a sentence or two: every number that failed, or that none did."""
        failed = [check.sentence for check in self.checks if not check.passed]
        return " ".join(failed) if failed else f"All {len(self.checks)} checks passed."

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values; JSON can hold all of them."""
        return {"passed": self.passed, "summary": self.summary, "checks": [asdict(check) for check in self.checks]}


def soundness(metrics: Mapping[str, float]) -> Decision:
    """Judge a tower by itself: its weights are finite, and its vectors tell users apart.

    Parameters
    ----------
    metrics
        ``weights_finite`` (1 or 0) and ``random_pair_cosine`` (-1 to 1). One that is missing or NaN never passes.
    """
    finite, cosine = (_number(metrics, name) for name in ("weights_finite", "random_pair_cosine"))
    return Decision(
        (
            _check("weights_finite", finite, "==", 1.0, "1: every weight is a finite number"),
            _check("random_pair_cosine", cosine, "<=", COLLAPSE, "above, vectors hardly tell users apart"),
        )
    )


def decide(
    challenger: Mapping[str, float],
    champion: Mapping[str, float] | None,
    baselines: Mapping[str, Mapping[str, float]],
) -> Decision:
    """Decide whether a challenger becomes champion.

    It must be sound (see `soundness`), beat the champion's and every baseline's MRR, and lose no more than
    `TOLERATED_LOSS` of the champion's coverage, and of its friend AUC where both have one. A metric that is missing or
    not finite never passes.

    Parameters
    ----------
    challenger, champion, baselines
        Metrics measured on the same validation users: ``mrr``, ``coverage``, ``friend_auc`` (only where the data has
        friends), and of the challenger ``weights_finite`` and ``random_pair_cosine``. No champion: None.
    """
    mrr = _number(challenger, "mrr")
    checks = list(soundness(challenger).checks)
    if champion is None and not baselines:
        checks.append(_check("mrr", mrr, ">", 0.0, "there is nobody to beat"))
    if champion is not None:
        checks.append(_check("mrr", mrr, ">", _number(champion, "mrr"), "the champion's"))
    checks += [
        _check(f"mrr vs {name}", mrr, ">", _number(metrics, "mrr"), f"that of the baseline {name}")
        for name, metrics in baselines.items()
    ]
    if champion is not None:
        # Without friends in the data neither has a number to keep.
        has_friends = any(_number(side, "friend_auc") is not None for side in (challenger, champion))
        shared = "friend_auc" in challenger and "friend_auc" in champion
        for name in ["coverage", *(["friend_auc"] if shared and has_friends else [])]:
            theirs = _number(champion, name)
            bound = None if theirs is None else theirs * (1 - TOLERATED_LOSS)
            checks.append(
                _check(name, _number(challenger, name), ">=", bound, f"the champion's less {TOLERATED_LOSS:.0%}")
            )
    return Decision(tuple(checks))


def _number(metrics: Mapping[str, float], name: str) -> float | None:
    """Return a metric as a float; None where it is missing or not finite."""
    value = metrics.get(name)
    return float(value) if value is not None and isfinite(value) else None


_HOLDS = {
    ">": lambda value, bound: value > bound,
    ">=": lambda value, bound: value >= bound,
    "<=": lambda value, bound: value <= bound,
    "==": lambda value, bound: value == bound,
}


def _check(name: str, value: float | None, relation: str, bound: float | None, meaning: str) -> Check:
    passed = value is not None and bound is not None and _HOLDS[relation](value, bound)
    shown, held = ("not known" if number is None else f"{number:.6g}" for number in (value, bound))
    return Check(name, value, bound, passed, f"{name} is {shown}; it must be {relation} {held} ({meaning}).")
