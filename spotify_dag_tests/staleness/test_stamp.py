"""The stamp changes with whatever may have become stale, and else stays."""

from __future__ import annotations

import dagster as dg
import pytest

from spotify_dag.orchestration.sensors import catch_up
from spotify_dag.project import Project
from spotify_dag.schemas import USERS
from spotify_dag.staleness.stamp import stamp
from spotify_dag_tests.staleness.test_changed_users import hand_in


def test_it_stays_while_nothing_happens_and_changes_with_what_does(project: Project) -> None:
    seen = [stamp(project)]
    assert stamp(project) == seen[0]
    project.lake.replace(USERS, [0], [project.lake.scan(USERS, [0]).collect()])
    seen.append(stamp(project))
    hand_in(project, "anna", ["Radiohead"])
    project.inbox.requests.sweep()
    seen.append(stamp(project))
    project.registry.promote(str(project.registry.latest()))
    seen.append(stamp(project))
    project.publish(str(project.published()))
    seen.append(stamp(project))
    project.inbox.remove_source("synthetic")
    seen.append(stamp(project))
    assert len(set(seen)) == 6


def test_catch_up_looks_again_only_where_something_changed(
    project: Project, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tick(cursor: str | None) -> dg.SensorResult:
        context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"project": project})
        result = catch_up(context)
        assert isinstance(result, dg.SensorResult)
        return result

    first = tick(None)
    assert first.skip_reason is not None
    assert "Nothing is left over" in str(first.skip_reason)
    assert "Nothing has changed" in str(tick(first.cursor).skip_reason)
    hand_in(project, "anna", ["Radiohead"])
    project.inbox.requests.sweep()
    assert "Nothing has changed" not in str(tick(first.cursor).skip_reason)
    monkeypatch.setattr("spotify_dag.orchestration.sensors.WHOLE_LOOK_SECONDS", 0)
    assert "Nothing has changed" not in str(tick(first.cursor).skip_reason)
