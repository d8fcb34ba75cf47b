"""What each part of the tower is worth: it is left out, on HetRec-2011, on Million Playlist data and on drawn users.

Features and halves are made once and kept in a folder. Per seed and fold everything is fitted once. Then each variant
chooses its mix and components on the same validation users, and is measured on the same test users. So the differences
are paired. Variants that change what the network sees are fitted anew.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.measure import RESULTS, console, in_fresh_process, print_others, print_table, run
from bench.pipeline import register, run_stages

if TYPE_CHECKING:
    from spotify_dag.tower.evaluation import Dataset
    from spotify_dag.tower.fit import Fitted
    from spotify_dag.tower.hyperparameters import TrainingSettings

NAME = "left_out"
SEEDS, FOLDS, MEASURED_FOLDS = 3, 5, 2
"""Folds of the users, and how many of them are measured per seed."""
HALVINGS = 8
VALIDATION_USERS = 150
DRAWN_USERS, QUICK_USERS = 1_000, 120
LEAST_MRR, LEAST_NDCG = 0.01, 0.003
"""A part that is worth less than both on every world may go."""
MEASURES = {"mrr": "MRR", "neighbour_ndcg@20": "NDCG@20", "friend_auc": "friend AUC", "cold_mrr": "cold MRR"}
TEST_DATA = Path(os.environ.get("SPOTIFY_DAG_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
KEPT = RESULTS / NAME
"""Data roots and pickled halves, by world."""


def measure(quick: bool) -> dict[str, Any]:
    """Measure, print and return the figures: by world and variant, means over seeds and folds."""
    results: dict[str, Any] = {}
    for name, source in _worlds(quick).items():
        rows, cost = in_fresh_process(measure_world, name, source, 1 if quick else SEEDS)
        results[name] = rows
        whole = rows["everything"]
        print_table(
            f"{name}: what is lost without",
            ("Part", *MEASURES.values()),
            [
                (variant, *(f"{row[key] - (variant != 'everything') * whole[key]:+.4f}" for key in MEASURES))
                for variant, row in rows.items()
            ],
        )
        print_others({name: cost})
    dispensable = [
        part for part in next(iter(results.values())) if all(_is_small(rows, part) for rows in results.values())
    ]
    console.print(
        f"Worth less than {LEAST_MRR} MRR and {LEAST_NDCG} NDCG@20 everywhere: {', '.join(dispensable) or 'none'}"
    )
    return {"worlds": results, "dispensable": dispensable}


def _worlds(quick: bool) -> dict[str, tuple[str, dict[str, Any], Path | None]]:
    """Return source, its options and its artist-genre table by world; the real ones where their files are."""
    drawn: tuple[str, dict[str, Any], Path | None] = (
        "synthetic",
        {"users": QUICK_USERS if quick else DRAWN_USERS},
        None,
    )
    genres = TEST_DATA / "artist-genres" / "artist_genres.parquet"
    real = {"hetrec": ("lastfm", "hetrec2011-lastfm-2k"), "mpd-part": ("mpd", "mpd-part")}
    worlds = {
        name: (source, {"path": str(TEST_DATA / folder)}, genres)
        for name, (source, folder) in real.items()
        if (TEST_DATA / folder).is_dir() and not quick
    }
    return {**worlds, f"drawn-{drawn[1]['users']}": drawn}


def measure_world(
    name: str, source: tuple[str, dict[str, Any], Path | None], seeds: int
) -> dict[str, dict[str, float]]:
    """Return the mean of each measure by variant."""
    import numpy as np

    found: dict[str, list[dict[str, float]]] = {}
    for seed in range(seeds):
        data = _halved(name, source, seed)
        folds = np.array_split(np.random.default_rng(seed).permutation(data.usable), FOLDS)
        for number, test in enumerate(folds[:MEASURED_FOLDS]):
            for variant, row in _fold(data, np.sort(test)):
                found.setdefault(variant, []).append(row)
            console.print(f"{name}: seed {seed}, fold {number} measured")
    return {
        variant: {key: float(np.nanmean([row[key] for row in rows])) if rows else float("nan") for key in MEASURES}
        for variant, rows in found.items()
    }


def _halved(name: str, source: tuple[str, dict[str, Any], Path | None], seed: int) -> Dataset:
    """Return the users of a world with their halves, from the folder if they were made before."""
    import numpy as np

    from spotify_dag.project import Project
    from spotify_dag.settings import Settings
    from spotify_dag.tower.evaluation import dataset
    from spotify_dag.tower.hyperparameters import halvings
    from spotify_dag.training_data.listening import read_users
    from spotify_dag.training_data.policy import trainable_users

    kept, root = KEPT / f"{name}-{seed}.pickle", KEPT / name
    if kept.exists():
        return pickle.loads(kept.read_bytes())
    if not root.exists():
        register(root, *source)
    run_stages(root, "features")
    project = Project.open(Settings(data=root))
    users = read_users(project, list(range(project.lake.n_buckets)), trainable_users(project))
    friends = _friends(project, users.users["user_id"].to_list()) if source[0] == "lastfm" else np.empty((0, 2), int)
    data = dataset(users, halvings=halvings(users.users.height)[:HALVINGS], friends=friends, seed=seed)
    kept.write_bytes(pickle.dumps(data, protocol=5))
    return data


def _friends(project: Any, user_ids: list[str]) -> Any:
    """Return row numbers of pairs of friends, ``[pairs, 2]``."""
    import numpy as np

    from spotify_dag.sources.lastfm import LastfmSource

    row = {user: number for number, user in enumerate(user_ids)}
    known = [source.friends() for source in project.inbox.sources() if isinstance(source, LastfmSource)]
    pairs = [
        (row[one], row[other])
        for frame in known
        for one, other in frame.select("user_id", "friend_id").iter_rows()
        if one in row and other in row
    ]
    return np.array(pairs, int).reshape(-1, 2)


def _fold(data: Dataset, test: Any) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield each variant with its measures on the test users."""
    import numpy as np

    from spotify_dag.tower.choose import choose_model
    from spotify_dag.tower.evaluation import measure as evaluate
    from spotify_dag.tower.fit import fit
    from spotify_dag.tower.hyperparameters import TrainingSettings
    from spotify_dag.tower.user_baselines import encoders

    users = data.fit_on(np.setdiff1d(np.arange(len(data.training)), test)).users
    rows = np.random.default_rng(data.seed).permutation(np.flatnonzero(users.usable))
    aside = min(VALIDATION_USERS, len(rows) // 3)
    validation, training = np.sort(rows[:aside]), np.sort(rows[aside:])
    settings = TrainingSettings(seed=data.seed)
    whole = fit(users, training, validation, settings, lambda _: None)
    refitted = {name: fit(users, training, validation, one, lambda _: None) for name, one in _refits(settings).items()}
    variants = [*((name, whole, one) for name, one in _choices(settings).items())]
    variants += [("network", _without_network(whole), settings)]
    variants += [(name, fitted, settings) for name, fitted in refitted.items()]
    for name, fitted, chosen in variants:
        model = choose_model(deepcopy(fitted), users, validation, training, chosen).model
        row = evaluate(data, encoders(model, users.catalogue), test)
        yield name, {**row, "cold_mrr": row["by"]["cold"]["mrr"]}


def _choices(settings: TrainingSettings) -> dict[str, TrainingSettings]:
    """Return what may be left out after the fit."""
    from spotify_dag.tower.mix import DEFAULT_MIX

    def without(**block: Any) -> TrainingSettings:
        return replace(settings, mixes=tuple(dict.fromkeys(replace(mix, **block) for mix in settings.mixes)))

    return {
        "everything": settings,
        "search of the mix": replace(settings, mixes=(DEFAULT_MIX,)),
        "components": replace(settings, components=0),
        "broad blocks beside components": replace(settings, broad=0.0),
        "anchor": without(anchor=0.0),
        "factors": without(factors=0.0),
        "axes": without(axes=0.0),
    }


def _refits(settings: TrainingSettings) -> dict[str, TrainingSettings]:
    """Return what the network may do without: one part after the other, and the hiding of parts."""
    parts = {
        f"part {part}": replace(settings, parts=tuple(other for other in settings.parts if other != part))
        for part in settings.parts
    }
    return {**parts, "hiding of parts": replace(settings, part_dropout=0.0)}


def _without_network(fitted: Fitted) -> Fitted:
    """Return what was fitted with a network that says nothing: its vectors are zero."""
    import torch

    silent = deepcopy(fitted)
    with torch.no_grad():
        for layer in (silent.tower.joint[-1], silent.tower.linear):
            for weight in layer.parameters():
                weight.zero_()
    return silent


def _is_small(rows: dict[str, dict[str, float]], part: str) -> bool:
    whole, without = rows["everything"], rows[part]
    return (
        part != "everything"
        and whole["mrr"] - without["mrr"] < LEAST_MRR
        and whole["neighbour_ndcg@20"] - without["neighbour_ndcg@20"] < LEAST_NDCG
    )


if __name__ == "__main__":
    run(NAME, __doc__, measure)
