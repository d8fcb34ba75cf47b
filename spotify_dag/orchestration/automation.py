"""What Dagster makes by itself, and when: the automation condition of every asset that has one.

A new data version of `known_users` in a bucket makes every stage of that bucket, in one run. What such a run leaves
undone, and what no event announces, is found by the sensor ``catch_up``, and the tower has a schedule: neither follows
from the update of a dependency.
"""

from __future__ import annotations

from typing import Any

import dagster as dg

MODEL = dg.AssetSelection.assets("user_tower", "tower_evaluation")
LATER = {"dagster/priority": "-1"}
"""Tags of a check that only warns: what a run makes is made first."""
AUTOMATED = ("raw_playlists", "artist_genres", "user_tastes", "text_vectors", "user_embeddings", "user_index")


def automated(*assets: Any) -> list[Any]:
    """Return assets, those of `AUTOMATED` with their condition."""
    return [asset if isinstance(asset, dg.SourceAsset) else asset.map_asset_specs(_with_condition) for asset in assets]


def _with_condition(spec: dg.AssetSpec) -> dg.AssetSpec:
    if spec.key.to_user_string() not in AUTOMATED:
        return spec
    # A tower that was trained, and may not serve, is no reason to index anybody.
    return spec.replace_attributes(automation_condition=dg.AutomationCondition.eager().ignore(MODEL))


def automation_sensors() -> list[dg.SensorDefinition]:
    """Return the sensor that evaluates the conditions; it asks as often as Dagster's daemon lets it, every 5 s."""
    return [
        dg.AutomationConditionSensorDefinition(
            "automation",
            target=dg.AssetSelection.assets(*AUTOMATED),
            minimum_interval_seconds=1,
            default_status=dg.DefaultSensorStatus.RUNNING,
            description="Makes every stage of the buckets in which known_users has something new.",
        )
    ]
