"""Tracks through the real graph: what a run makes, what the next one leaves alone, and what is answered from it."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from spotify_dag.assets.track_assets import learn_continuation
from spotify_dag.cli.main import app
from spotify_dag.cli.run_summary import summary
from spotify_dag.definitions import build_definitions
from spotify_dag.lifecycle.change_preferences import change_preferences
from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date
from spotify_dag.orchestration.freshness import waiting
from spotify_dag.project import Project
from spotify_dag.schemas import AUDIO_FEATURES, RAW_PLAYLISTS, TRACK_CATALOGUE, USERS
from spotify_dag.sources.base import RECORD_COLUMNS, no_rejects
from spotify_dag.sources.export.kept import kept_frame
from spotify_dag.sources.export.reading import Reading
from spotify_dag.staleness.stale_buckets import stale_continuation, stale_tracks
from spotify_dag.stores.preferences import Preference
from spotify_dag.tracks.blend_answers import BlendWish
from spotify_dag.tracks.catalogue_rows import track_identity
from spotify_dag.tracks.listeners import ListenerError
from spotify_dag.tracks.text_search import Filters
from spotify_dag.tracks.track_answers import (
    MOST_ANSWERS,
    MOST_SONGS,
    MOST_UNSEEN,
    ContinueRequest,
    RequestError,
    SeedRequest,
    TrackAnswers,
    TrackDescription,
    read_requests,
)
from spotify_dag.tracks.tracks_for import SuggestWish

pytestmark = pytest.mark.slow


def stages(project: Project, instance: dg.DagsterInstance) -> list[str]:
    definitions = build_definitions(settings=project.settings)
    return [stage.stage for stage in bring_up_to_date(project, definitions, instance)]


def catalogue(project: Project) -> pl.DataFrame:
    return project.lake.scan(TRACK_CATALOGUE).sort("catalogue_number").collect()


def test_every_track_is_in_the_catalogue_and_in_the_index(project: Project) -> None:
    tracks = catalogue(project)
    assert tracks["catalogue_number"].to_list() == list(range(tracks.height))
    assert set(project.track_index.column("track_id")["track_id"]) == set(tracks["track_id"])
    assert project.lake.scan(AUDIO_FEATURES).collect()["track_id"].n_unique() >= tracks.height
    assert tracks["genres"].null_count() < 0.05 * tracks.height
    assert stale_tracks(project) is None


def test_new_playlists_add_tracks_and_leave_the_others_their_numbers(
    project: Project, instance: dg.DagsterInstance
) -> None:
    before = catalogue(project)
    version = project.lake.scan(AUDIO_FEATURES).collect()["source_version"].unique()
    model = project.track_model.card()
    project.inbox.register_source("synthetic", {"users": 42, "playlists": 2, "tracks": 10})
    assert "tracks" in stages(project, instance)
    after = catalogue(project)
    assert after.height > before.height
    kept = before.join(after, on="track_id", suffix="_now")
    assert kept.height == before.height
    assert (kept["catalogue_number"] == kept["catalogue_number_now"]).all()
    assert set(project.track_index.column("track_id")["track_id"]) == set(after["track_id"])
    assert project.lake.scan(AUDIO_FEATURES).collect()["source_version"].unique().to_list() != version.to_list()
    # Two users more of forty are less than a tenth: no reason to learn anew.
    assert project.track_model.card() == model
    assert stages(project, instance) == []


def test_a_source_that_goes_takes_its_tracks_along(
    project: Project, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    table = tmp_path / "songs.csv"
    table.write_text(
        "track_id,track_name,track_artist,playlist_id,playlist_name,energy\nx1,Zzyzx,Stone Sour,p,Desert,0.8\n"
    )
    project.inbox.register_source("spotify-songs", {"path": str(table)})
    stages(project, instance)
    assert project.track_answers.search("zzyzx", 1)[0]["track_id"] == "x1"
    project.inbox.remove_source("spotify-songs")
    stages(project, instance)
    assert "x1" not in catalogue(project)["track_id"]
    assert "x1" not in project.track_index.column("track_id")["track_id"]
    assert project.lake.scan(AUDIO_FEATURES).collect()["source"].unique().to_list() == ["synthetic"]


@pytest.mark.parametrize("share", [0.5, 1])
def test_nothing_is_learned_from_playlists_of_the_web_api(project: Project, share: float) -> None:
    lake = project.lake
    rows = lake.scan(RAW_PLAYLISTS).collect()
    own_ids = rows["user_id"].unique().sort().head(round(40 * share))
    own = own_ids.implode()
    source = pl.when(pl.col("user_id").is_in(own)).then(pl.lit("spotify")).otherwise("source").alias("source")
    lake.replace(RAW_PLAYLISTS, [0, 1], [rows.with_columns(source)])
    tracks = catalogue(project)
    expected = set(rows.filter(~pl.col("user_id").is_in(own))["track_id"])

    model, users = learn_continuation(project, tracks)
    assert not set(users["user_id"]) & set(own_ids)
    learned = tracks["track_id"].gather(np.unique(model.stage.playlists.indices))
    assert set(learned) == expected
    project.track_model.save(model, tracks.select("track_id", "artist_key", "catalogue_number"), users, {})
    answer = project.track_answers.answer(ContinueRequest(tracks=tracks["track_id"].head(3).to_list(), count=5))
    assert len(answer["recommendations"]) == 5

    allowed = Project.open(project.settings.model_copy(update={"train_on_spotify": True}))
    assert len(learn_continuation(allowed, tracks)[0].stage.playlists) == 80


def test_a_model_goes_when_one_of_its_users_does(project: Project, instance: dg.DagsterInstance) -> None:
    gone = project.track_model.users()["user_id"][0]
    for table in (USERS, RAW_PLAYLISTS):
        rows = project.lake.scan(table).filter(pl.col("user_id") != gone).collect()
        project.lake.replace(table, [0, 1], [rows])
    assert "1 users whose playlists are in it are gone" in stale_continuation(project)
    assert "tracks" in stages(project, instance)
    assert gone not in project.track_model.users()["user_id"]
    assert len(project.track_model.load().model.stage.playlists) == 78


def test_a_model_goes_when_the_policy_changes(project: Project) -> None:
    rows = project.lake.scan(USERS).collect()
    other = Project.open(project.settings.model_copy(update={"train_on_spotify": True}))
    assert stale_continuation(project) is None
    assert "TRAIN_ON_SPOTIFY" in stale_continuation(other)
    one = pl.col("user_id") == rows["user_id"][0]
    source = pl.when(one).then(pl.lit("spotify")).otherwise("source").alias("source")
    project.lake.replace(USERS, [0, 1], [rows.with_columns(source)])
    assert "may no longer be learned from" in stale_continuation(project)


def test_what_a_killed_run_left_undone_is_seen(project: Project, instance: dg.DagsterInstance) -> None:
    one = catalogue(project)["track_id"][0]
    project.track_index.remove([one])
    assert stale_tracks(project) == "the track index is incomplete"
    (project.track_model.root / "serving.json").unlink()
    assert stages(project, instance) == ["tracks"]
    assert one in project.track_index.column("track_id")["track_id"]
    assert project.track_model.card() is not None


def test_one_new_user_s_tracks_wait_for_others_a_day_or_other_rules(
    project: Project, instance: dg.DagsterInstance
) -> None:
    def handed_in(name: str) -> None:
        rows = project.lake.scan(RAW_PLAYLISTS).select(RECORD_COLUMNS).head(3).collect()
        records = rows.with_columns(track_id=pl.lit(name.ljust(22, "0")), track_name=pl.lit(f"Song of {name}"))
        kept = kept_frame(records, no_rejects())
        project.inbox.requests.hand_in("export", f"export-{name}", [kept], opted_in=True)
        project.inbox.requests.sweep()

    def made(**changed: Any) -> None:
        project.set_track_catalogue_card(project.track_catalogue_card() | changed)

    handed_in("anna")
    assert stages(project, instance) == ["ingest", "features", "index"]
    assert waiting(project)["tracks"] == []
    assert "Tracks of new users wait" in summary(project)["notes"][0]
    card = project.track_catalogue_card()
    assert stale_tracks(project) is None
    made(made_at=(datetime.now(UTC) - timedelta(hours=25)).isoformat())
    assert "a day old" in str(stale_tracks(project))
    made(**card | {"made_from": card["made_from"] | {"code": "of last year"}})
    assert "other rules" in str(stale_tracks(project))
    made(**card)
    handed_in("ben")
    assert stages(project, instance) == ["ingest", "features", "tracks", "index"]
    assert {"Song of anna", "Song of ben"} <= set(catalogue(project)["track_name"])
    assert summary(project)["notes"] == []
    made(made_at=(datetime.now(UTC) - timedelta(days=9)).isoformat())
    assert stale_tracks(project) is None  # nobody came: age alone is no reason


@pytest.fixture
def answers(project: Project) -> TrackAnswers:
    return project.track_answers


def test_ids_uris_urls_and_numbers_are_the_same_tracks(project: Project, answers: TrackAnswers) -> None:
    ids = catalogue(project)["track_id"].to_list()
    written = [ids[0], f"spotify:track:{ids[1]}", f"https://open.spotify.com/track/{ids[2]}?si=1", 3, ids[0]]
    found = answers.continued(ContinueRequest(tracks=[*written, "nobody", 10**9], count=5))
    assert found["seeds"] == 4
    assert found["unknown"] == ["nobody", 10**9]
    assert len(found["recommendations"]) == 5
    assert not {track["track_id"] for track in found["recommendations"]} & set(ids[:4])
    assert all(track["why"] and track["track_name"] and track["artist_name"] for track in found["recommendations"])


def test_a_track_never_seen_a_title_and_a_mood_will_do(answers: TrackAnswers, project: Project) -> None:
    artist = catalogue(project)["artist_name"][0]
    unseen = TrackDescription(title="Never Heard", artist=artist, audio={"energy": 0.9, "tempo": 150})
    for request in (
        ContinueRequest(tracks=[unseen], count=3),
        ContinueRequest(title="metal workout", count=3),
        ContinueRequest(mood="calm acoustic evening", count=3),
        ContinueRequest(count=3),
    ):
        assert len(answers.continued(request)["recommendations"]) == 3


def test_a_mood_is_heard(answers: TrackAnswers, project: Project) -> None:
    energy = dict(project.lake.scan(AUDIO_FEATURES).select("track_id", "energy").collect().iter_rows())

    def mean_energy(mood: str) -> float:
        found = answers.continued(ContinueRequest(mood=mood, count=30))["recommendations"]
        return sum(energy[track["track_id"]] for track in found) / len(found)

    assert mean_energy("calm quiet evening") + 0.1 < mean_energy("energetic loud party")


def test_the_format_of_the_system_before_is_answered_in_its_order(project: Project, tmp_path: Path) -> None:
    name, artist = catalogue(project).select("track_name", "artist_name").row(5)
    request = {"search": f"{name} {artist}", "playlist": [1, 2], "recommender_neighbors": 4, "search_neighbors": 2}
    path = tmp_path / "requests.json"
    path.write_text(json.dumps([request, {**request, "playlist": []}]))
    done = CliRunner().invoke(app, ["--data", str(project.settings.data), "continue", str(path)])
    assert done.exit_code == 0, done.output
    first, second = json.loads(done.stdout)
    assert first["search"][0]["track_name"] == name
    assert first["search_catalogue_numbers"] == [song["catalogue_number"] for song in first["search"]]
    assert len(first["recommendation_catalogue_numbers"]) == 4
    assert not {1, 2} & set(first["recommendation_catalogue_numbers"])
    assert second["recommendations"] == []


def test_a_list_leaves_as_a_file_and_comes_back(project: Project, tmp_path: Path) -> None:
    request, out = tmp_path / "request.json", tmp_path / "Next.xspf"
    request.write_text(json.dumps({"tracks": [1, 2], "count": 7}))
    command = ["--data", str(project.settings.data), "continue", str(request)]
    asked = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)["recommendations"]
    done = CliRunner().invoke(app, [*command, "--out", str(out)])
    assert done.exit_code == 0, done.output
    rows = pl.concat(list(Reading(out, "anna").frames())).sort("position")
    assert rows["track_name"].to_list() == [track["track_name"] for track in asked]
    assert rows["playlist_name"][0] == "Continues 2 tracks"
    printed = CliRunner().invoke(app, [*command, "--format", "text"]).stdout
    assert printed.splitlines()[2].startswith(f"1. {asked[0]['track_name']} · {asked[0]['artist_name']} · ")
    refused = CliRunner().invoke(app, [*command, "--json", "--out", str(out)])
    assert (refused.exit_code, "Give one." in refused.stderr) == (1, True)


class TestBlend:
    PEOPLE = ("synthetic-000000", "synthetic-000001", "synthetic-000002")

    def test_every_track_says_for_whom_and_order_does_not_matter(self, project: Project) -> None:
        made = project.blends.blended(self.PEOPLE, BlendWish(tracks=20))
        assert len({track["track_id"] for track in made["tracks"]}) == 20
        assert made["known"] == 0.5
        assert [one["user_id"] for one in made["people"]] == list(self.PEOPLE)
        assert made["least"] == min(one["satisfaction"] for one in made["people"]) > 0
        tracks_of = own_tracks(project)
        for track in made["tracks"]:
            assert {one["user_id"] for one in track["for"]} <= set(self.PEOPLE)
            assert track["for"]
            assert {user for user in self.PEOPLE if track["track_id"] in tracks_of[user]} <= set(track["known_by"])
        assert project.blends.blended(self.PEOPLE[::-1], BlendWish(tracks=20)) == made

    def test_a_veto_of_one_holds_for_all(self, project: Project) -> None:
        made = project.blends.blended(self.PEOPLE, BlendWish(tracks=20))["tracks"]
        artist, track = made[0]["artist_name"], next(t for t in made if t["artist_name"] != made[0]["artist_name"])
        wish = BlendWish(tracks=60, without_artists=[artist.upper()], without_tracks=[track["track_id"]])
        again = project.blends.blended(self.PEOPLE, wish)["tracks"]
        assert artist not in {one["artist_name"] for one in again}
        assert track["track_id"] not in {one["track_id"] for one in again}

    @pytest.mark.parametrize("known", [0.0, 1.0])
    def test_minutes_and_the_share_of_known_tracks_are_kept(self, project: Project, known: float) -> None:
        made = project.blends.blended(self.PEOPLE, BlendWish(minutes=60, known=known))
        assert 50 < made["minutes"] <= 60
        assert made["known"] == known

    def test_somebody_is_there_as_a_file_alone(self, project: Project, tmp_path: Path) -> None:
        titles = catalogue(project).head(30).select("track_name", "artist_name").rows()
        file = tmp_path / "anna.csv"
        file.write_text("Track Name,Artist Name\n" + "".join(f'"{title}","{by}"\n' for title, by in titles))
        project.check_layout()
        before = sorted(path for path in project.settings.data.rglob("*") if path.is_file())
        command = ["--data", str(project.settings.data), "blend", self.PEOPLE[0], "--file", str(file)]
        buckets = {"SPOTIFY_DAG_N_BUCKETS": str(project.settings.n_buckets)}
        done = CliRunner().invoke(app, [*command, "--tracks", "10", "--json"], env=buckets)
        assert done.exit_code == 0, done.output
        assert [one["user_id"] for one in json.loads(done.stdout)["people"]] == ["anna", self.PEOPLE[0]]
        assert sorted(path for path in project.settings.data.rglob("*") if path.is_file()) == before

    @pytest.mark.parametrize(
        ("users", "said"),
        [
            (["synthetic-000000"], "for 2 to 20 people, not 1"),
            (["synthetic-000000"] * 2, "'synthetic-000000' is named twice"),
            (["synthetic-000000", "nobody"], "Nobody called 'nobody' is known"),
        ],
    )
    def test_what_cannot_be_blended_is_refused(self, project: Project, users: list[str], said: str) -> None:
        with pytest.raises(ListenerError, match=said):
            project.blends.blended(users, BlendWish())


class TestTracksFor:
    USER = "synthetic-000004"

    def test_nothing_is_suggested_that_somebody_has(self, project: Project) -> None:
        keys = dict(catalogue(project).select("track_id", "song_key").iter_rows())
        tracks_of = own_tracks(project)
        near = [user for user in sorted(tracks_of) if user != self.USER][:5]
        made = project.tracks_for.suggested(self.USER, SuggestWish(count=40), near)
        songs = [keys[track["track_id"]] for track in made["tracks"]]
        assert len(set(songs)) == len(songs) == 40
        assert not set(songs) & {keys[track] for track in tracks_of[self.USER]}
        assert made["near_users"] == 5
        for track, song in zip(made["tracks"], songs, strict=True):
            assert track["why"]
            assert track["near"] == sum(song in {keys[own] for own in tracks_of[user]} for user in near)
        said = [why for track in made["tracks"] for why in track["why"]]
        assert any("of the 5 nearest listeners have it" in why for why in said)
        assert any("fits your" in why for why in said)

    def test_the_command_writes_a_list(self, project: Project, tmp_path: Path) -> None:
        project.check_layout()
        command = ["--data", str(project.settings.data), "tracks-for", self.USER, "-k", "5"]
        buckets = {"SPOTIFY_DAG_N_BUCKETS": str(project.settings.n_buckets)}
        done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "Monday.jspf")], env=buckets)
        assert done.exit_code == 0, done.output
        rows = pl.concat(list(Reading(tmp_path / "Monday.jspf", "anna").frames()))
        asked = json.loads(CliRunner().invoke(app, [*command, "--json"], env=buckets).stdout)
        assert rows.sort("position")["track_name"].to_list() == [track["track_name"] for track in asked["tracks"]]
        nobody = CliRunner().invoke(app, [*command[:3], "nobody"], env=buckets)
        assert (nobody.exit_code, "Nobody called 'nobody' is known" in nobody.stderr) == (1, True)


def own_tracks(project: Project) -> dict[str, set[str]]:
    rows = project.lake.scan(RAW_PLAYLISTS).select("user_id", "track_id").collect()
    return {str(user): set(items["track_id"]) for (user,), items in rows.partition_by("user_id", as_dict=True).items()}


@pytest.mark.parametrize("many", [10_000, 10**30])
def test_more_answers_may_be_asked_for_than_there_are_tracks(
    project: Project, answers: TrackAnswers, many: int
) -> None:
    count = catalogue(project).height
    found = answers.answer(
        SeedRequest(search="love", playlist=[1, 2, 10**9], recommender_neighbors=many, search_neighbors=many)
    )
    assert found["unknown"] == [10**9]
    limits = {"recommender_neighbors": MOST_ANSWERS, "search_neighbors": MOST_SONGS}
    assert found.get("limited_to", {}) == {name: most for name, most in limits.items() if many > most}
    # All songs but those of the seeds, each once.
    songs = dict(catalogue(project).select("catalogue_number", "song_key").iter_rows())
    listed = [songs[number] for number in found["recommendation_catalogue_numbers"]]
    assert len(listed) == len(set(listed)) == len(set(songs.values()) - {songs[1], songs[2]}) <= count


def test_search_from_the_command_line(project: Project) -> None:
    name = catalogue(project)["track_name"][0]
    done = CliRunner().invoke(app, ["--data", str(project.settings.data), "search", name, "--json", "-k", "3"])
    assert json.loads(done.stdout)["songs"][0]["track_name"] == name
    wrong = CliRunner().invoke(app, ["--data", str(project.settings.data), "search", name, "--audio", "energy=much"])
    assert wrong.exit_code == 1
    assert "Give two numbers" in wrong.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[1]", "request 1 is 1, not an object"),
        ('{"tracks": [true]}', r"tracks\.0 is true"),
        ('{"tracks": "abc"}', 'tracks is "abc"'),
        ('{"trakcs": []}', "trakcs is"),
        ('[{"search": "a"}, {"search": 5}]', "request 2: search is 5"),
        ('{"tracks": [], "count": 0}', "count is 0"),
        ('{"tracks": [[1]]}', r"tracks\.0 is \[1\]: A track is an id"),
        ('{"tracks": [7, {"titel": "a"}]}', r"tracks\.1\.titel .* Fields are: title, artist"),
        ('{"tracks": [{"audio": {"energi": 1}}]}', "no audio feature 'energi'; choose from danceability"),
        ('{"tracks": [{"audio": {"tempo": 0.8}}]}', r"tempo is 0\.8, not from 30 to 300"),
        ('{"title": "\\ud83d"}', "half of a letter"),
    ],
)
def test_requests_that_cannot_be_read_say_where(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "request.json"
    path.write_text(content)
    with pytest.raises(RequestError, match=message):
        read_requests(path)


def test_a_playlist_of_a_hundred_thousand_is_answered(answers: TrackAnswers, project: Project) -> None:
    ids = catalogue(project)["track_id"].to_list()
    listed = [*ids[:50], *(f"unknown-{number}" for number in range(100_000))]
    found = answers.continued(ContinueRequest(tracks=listed, count=5))
    assert len(found["unknown"]) == 100_000
    assert len(found["recommendations"]) == 5


def test_a_playlist_of_ten_thousand_descriptions_is_answered(answers: TrackAnswers) -> None:
    described = [TrackDescription(title=f"Song {number} " + "x" * 10_000, artist="A") for number in range(10_000)]
    begun = time.process_time()
    found = answers.continued(ContinueRequest(tracks=described, title="y" * 10**6, count=5))
    assert found["seeds"] == MOST_UNSEEN
    assert len(found["recommendations"]) == 5
    assert time.process_time() - begun < 30


def test_numbers_that_no_track_can_have_are_unknown(answers: TrackAnswers) -> None:
    found = answers.continued(ContinueRequest(tracks=[-1, 2**63, 10**30], count=1))
    assert found["unknown"] == [-1, 2**63, 10**30]


@pytest.mark.parametrize("text", ["\udcff", "a\x00b", "'; drop", "\\", "AND OR NOT", "*:*", '"'])
def test_search_takes_whatever_is_typed(answers: TrackAnswers, text: str) -> None:
    assert isinstance(answers.search(text, 3), list)
    assert answers.search(text, 3, Filters(genre=text)) == []


def test_threads_share_one_and_hear_the_same(answers: TrackAnswers, project: Project) -> None:
    ids = catalogue(project)["track_id"].to_list()

    def asked(number: int) -> tuple:
        words = answers.search(f"quiet evening {number}", 3)
        more = answers.continued(ContinueRequest(tracks=ids[number : number + 3], title="calm", count=5))
        return [song["track_id"] for song in words], [track["track_id"] for track in more["recommendations"]]

    alone = [asked(number) for number in range(12)]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(asked, range(12))) == alone


def test_another_model_is_answered_from_once_it_serves(answers: TrackAnswers, project: Project) -> None:
    request = ContinueRequest(tracks=catalogue(project)["track_id"].head(2).to_list(), count=3)
    assert len(answers.continued(request)["recommendations"]) == 3
    tracks = catalogue(project).head(4)
    model, users = learn_continuation(project, tracks)
    project.track_model.save(model, tracks.select("track_id", "artist_key", "catalogue_number"), users, {})
    found = answers.continued(request)
    assert {track["track_id"] for track in found["recommendations"]} <= set(tracks["track_id"])


@pytest.mark.parametrize("text", ["夜に駆ける Ночь 🔥", "مرحبا", "e\u0301a\u0300", "\u202e\u200b", "💿" * 50])
def test_any_script_is_searched_and_continued(answers: TrackAnswers, text: str) -> None:
    assert isinstance(answers.search(text, 3), list)
    unseen = TrackDescription(title=text, artist=text)
    found = answers.continued(ContinueRequest(tracks=[unseen, text], title=text, count=3))
    assert found["unknown"] == [text]
    assert len(found["recommendations"]) == 3


def test_a_playlist_of_a_hundred_thousand_known_tracks_is_answered(answers: TrackAnswers, project: Project) -> None:
    ids = catalogue(project)["track_id"].to_list()
    begun = time.process_time()
    found = answers.continued(ContinueRequest(tracks=(ids * (100_000 // len(ids) + 1))[:100_000], title="all", count=5))
    # Every track is a seed, so there is nothing left to say; it is said in time all the same.
    assert found["seeds"] == len(ids)
    assert found["recommendations"] == []
    assert time.process_time() - begun < 10


@pytest.mark.parametrize(
    "content", ["", "\x00\x01", "null", "1e999", '"text"', '{"tracks": [1e400]}', '{"count": NaN}']
)
def test_files_that_hold_no_request_are_one_clear_error(project: Project, tmp_path: Path, content: str) -> None:
    path = tmp_path / "request.json"
    path.write_text(content)
    done = CliRunner().invoke(app, ["--data", str(project.settings.data), "continue", str(path)])
    assert done.exit_code == 1
    assert "request.json" in done.stderr
    assert "Traceback" not in done.output


class TestPreferences:
    USER, OTHERS = "synthetic-000004", ("synthetic-000001", "synthetic-000002")

    def leave_out(self, project: Project, *options: str) -> Result:
        command = ["--data", str(project.settings.data), "leave-out", self.USER, *options]
        return CliRunner().invoke(app, command, env={"SPOTIFY_DAG_N_BUCKETS": str(project.settings.n_buckets)})

    def suggested(self, project: Project, count: int = 40) -> list[dict[str, Any]]:
        return project.tracks_for.suggested(self.USER, SuggestWish(count=count))["tracks"]

    def test_what_is_not_wanted_is_not_suggested(self, project: Project) -> None:
        project.check_layout()
        first, *others = self.suggested(project)
        artist = next(track["artist_name"] for track in others if track["artist_name"] != first["artist_name"])
        genre = next(name for track in others for name in track["genres"] or () if track["artist_name"] != artist)
        said = ("--not-for-me", f"spotify:track:{first['track_id']}", "--artist", artist.upper(), "--genre", genre)
        done = self.leave_out(project, *said, "--json")
        assert done.exit_code == 0, done.output
        assert [entry["kind"] for entry in json.loads(done.stdout)["preferences"]] == ["artist", "genre", "not-for-me"]
        again = self.suggested(project)
        assert len(again) == 40
        assert first["track_id"] not in {track["track_id"] for track in again}
        assert artist not in {track["artist_name"] for track in again}
        assert not any(genre in (track["genres"] or ()) for track in again)
        assert self.leave_out(project, *said, "--undo").exit_code == 0
        assert self.suggested(project) == [first, *others]

    def test_what_is_left_out_is_still_nothing_new(self, project: Project) -> None:
        items = project.lake.scan(RAW_PLAYLISTS).filter(user_id=self.USER).collect()
        has = set(items.lazy().select(track_identity()).collect()["track_id"])
        title = str(items["playlist_name"].drop_nulls()[0])
        done = self.leave_out(project, "--playlist", title)
        assert (done.exit_code, "items do not count" in done.stdout, title in done.stdout) == (0, True, True)
        assert not has & {track["track_id"] for track in self.suggested(project, 200)}

    def test_more_like_a_track_brings_more_of_its_kind(self, project: Project) -> None:
        before = [track["artist_name"] for track in self.suggested(project, 100)]
        listened = set(project.lake.scan(RAW_PLAYLISTS).filter(user_id=self.USER).collect()["artist_name"])
        rows = catalogue(project).filter(~pl.col("artist_name").is_in([*listened, *before[:30]]))
        artist = rows["artist_name"].value_counts(sort=True)["artist_name"][0]
        track = rows.filter(artist_name=artist).sort("track_id")["track_id"][0]
        assert self.leave_out(project, "--more-like", track).exit_code == 0
        after = self.suggested(project, 100)
        assert track not in {entry["track_id"] for entry in after}
        assert [entry["artist_name"] for entry in after].count(artist) > before.count(artist)

    def test_blends_and_continuations_know_what_is_not_for_somebody(self, project: Project) -> None:
        people = (self.USER, *self.OTHERS)
        first, *_ = made = project.blends.blended(people, BlendWish(tracks=30))["tracks"]
        artist = next(
            track["artist_name"] for track in made if self.USER in {told["user_id"] for told in track["for"]}
        )  # fmt: skip
        said = [Preference("not-for-me", first["track_id"]), Preference("artist", artist)]
        change_preferences(project, self.USER, said)
        again = project.blends.blended(people, BlendWish(tracks=30))["tracks"]
        assert first["track_id"] not in {track["track_id"] for track in again}
        theirs = [track for track in again if track["artist_name"] == artist]
        assert self.USER not in {told["user_id"] for track in theirs for told in track["for"]}
        seeds = sorted(own_tracks(project)[self.USER])[:3]
        answers, request = project.track_answers, ContinueRequest(tracks=seeds, count=20)
        ids = [track["track_id"] for track in answers.continued(request)["recommendations"]]
        without = answers.continued(request, ids[:2])["recommendations"]
        assert [track["track_id"] for track in without][:18] == ids[2:]

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["--undo"], "--undo needs what to undo"),
            (["--undo", "--genre", "polka"], "There is no genre 'polka' to undo"),
            (["--artist", "x" * 501], "1 to 500 characters, not 501"),
        ],
    )
    def test_what_cannot_be_said_is_refused(self, project: Project, options: list[str], said: str) -> None:
        done = self.leave_out(project, *options)
        assert (done.exit_code, said in done.stderr) == (1, True)
        nobody = CliRunner().invoke(app, ["--data", str(project.settings.data), "leave-out", "nobody"],
                                    env={"SPOTIFY_DAG_N_BUCKETS": "2"})  # fmt: skip
        assert (nobody.exit_code, "Nothing is stored of 'nobody'" in nobody.stderr) == (1, True)
