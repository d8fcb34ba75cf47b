"""A source that cannot be read to its end now: what there is gets into the lake; Dagster comes back for the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from spotify_dag.definitions import build_definitions
from spotify_dag.orchestration.step_failures import TERMINAL_TAG
from spotify_dag.project import Project
from spotify_dag.schemas import INGESTS, RAW_PLAYLISTS, USERS
from spotify_dag.settings import Settings
from spotify_dag.simulator.faults_and_limits import Faults, SimulatorSettings
from spotify_dag.simulator.loopback_server import Simulator, serve
from spotify_dag.sources.base import ResumeLaterError

pytestmark = pytest.mark.medium

RANGE = {"dagster/asset_partition_range_start": "00", "dagster/asset_partition_range_end": "01"}


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with serve(SimulatorSettings(users=9, playlists=2, tracks=5)) as simulator:
        yield simulator


@pytest.fixture
def project(simulator: Simulator, tmp_path: Path) -> Project:
    """Six users to read from a simulated Spotify, no wait being short enough to sleep through."""
    settings = Settings(
        data=tmp_path / "data", n_buckets=2, spotify_client_id="simulator", spotify_client_secret="simulator",
        spotify_api_url=f"{simulator.url}/v1", spotify_auth_url=simulator.url, spotify_max_wait=0,
    )  # fmt: skip
    project = Project.open(settings)
    users = tmp_path / "users.txt"
    users.write_text("\n".join(f"synthetic-{user:06d}" for user in range(3, 9)))
    project.inbox.register_source("spotify", {"path": str(users)})
    project.inbox.register_source("synthetic", {"users": 3})
    return project


def run(project: Project, **tags: str) -> dg.ExecuteInProcessResult:
    definitions = build_definitions(settings=project.settings, overrides={"project": project})
    with dg.DagsterInstance.ephemeral() as instance:
        return definitions.resolve_job_def("ingest").execute_in_process(instance=instance, tags={**RANGE, **tags})


def test_dagster_goes_on_when_the_time_has_come(project: Project, simulator: Simulator) -> None:
    simulator.api.wire.faults = Faults(rate_limited=0.15, retry_after=1)
    done = run(project)
    assert done.success
    retries = [event for event in done.all_events if event.event_type_value == "STEP_UP_FOR_RETRY"]
    assert retries
    assert all(0 < event.step_retry_data.seconds_to_wait <= 1 for event in retries)
    assert len(retries) == simulator.api.wire.traffic.faults["rate_limited"]
    users = project.lake.scan(USERS).collect()
    assert users.group_by("source").len().rows() == [("synthetic", 9)]
    assert set(project.lake.scan(INGESTS).collect()["source"]) == {"spotify", "synthetic"}
    pages = [count for url, count in simulator.api.wire.traffic.urls.items() if url.startswith("/v1/playlists/")]
    assert sum(pages) - len(pages) <= simulator.api.wire.traffic.faults["rate_limited"]


def test_whoever_waits_at_a_terminal_is_told_and_has_what_there_is(project: Project) -> None:
    project.settings.spotify_daily_budget = 16  # of 18 for these users: at least three of them are in
    with pytest.raises(ResumeLaterError, match=r"Resume after 20"):
        run(project, **{TERMINAL_TAG: "here:1"})
    lake = project.lake
    users = set(lake.scan(USERS).collect()["user_id"])
    assert {f"synthetic-{user:06d}" for user in range(3)} < users
    assert set(lake.scan(RAW_PLAYLISTS).collect()["user_id"]) == users
    # The one that was read to its end need not be read again; the other has to be.
    assert set(lake.scan(INGESTS).collect()["source"]) == {"synthetic"}
