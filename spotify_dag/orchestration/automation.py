"""What Dagster's automation makes by itself: every automated stage of a bucket in which `known_users` changed.

What such a run leaves undone, and what no event announces, is found by the sensor ``catch_up``. The tower has a
schedule: neither follows from the update of a dependency.
"""

from __future__ import annotations

from typing import Any

import dagster as dg

from spotify_dag.orchestration.stages import STAGES

MODEL = dg.AssetSelection.assets("user_tower", "tower_evaluation")
WARNING_LAST = {"dagster/priority": "-1"}
"""Tags of a check that only warns: what a run makes is made first."""
AUTOMATED = tuple(asset for stage in STAGES.values() if stage.automated for asset in stage.assets)

# Asked as often as Dagster's daemon allows it, every 5 seconds.
AUTOMATION_SENSOR = dg.AutomationConditionSensorDefinition(
    "automation",
    target=dg.AssetSelection.assets(*AUTOMATED),
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Makes every stage of the buckets in which known_users has something new.",
)


def automated(*assets: Any) -> list[Any]:
    """Return assets, those of `AUTOMATED` with their condition."""
    return [asset if isinstance(asset, dg.SourceAsset) else asset.map_asset_specs(_with_condition) for asset in assets]


def _with_condition(spec: dg.AssetSpec) -> dg.AssetSpec:
    if spec.key.to_user_string() not in AUTOMATED:
        return spec
    # A tower that was trained, and may not serve, is no reason to index anybody.
    return spec.replace_attributes(automation_condition=dg.AutomationCondition.eager().ignore(MODEL))
