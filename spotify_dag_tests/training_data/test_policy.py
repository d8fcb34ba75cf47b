"""Who is trained on: never more users than are allowed, also where one bucket holds more."""

from __future__ import annotations

from spotify_dag.project import Project
from spotify_dag.settings import Settings
from spotify_dag.training_data.listening import training_users
from spotify_dag.training_data.policy import trainable_users, training_buckets, training_digest, training_sample


def limited(project: Project, users: int) -> Project:
    return Project.open(Settings(data=project.settings.data, n_buckets=2, train_users=users))


def sample(project: Project) -> list[str]:
    rows = training_sample(project, training_buckets(project)).select("user_id").collect()
    return rows["user_id"].to_list()


def test_whole_buckets_are_taken_as_far_as_they_fit(project: Project) -> None:
    everybody = limited(project, 40)
    assert training_buckets(everybody) == [0, 1]
    assert len(sample(everybody)) == 40
    fewer = limited(project, 39)
    assert training_buckets(fewer) == [0]
    assert sorted(sample(fewer)) == sorted(trainable_users(fewer, [0]).collect()["user_id"])


def test_of_a_bucket_that_holds_more_some_are_taken(project: Project) -> None:
    seven, eight = limited(project, 7), limited(project, 8)
    assert training_buckets(seven) == [0]
    assert trainable_users(seven, [0]).collect().height > 8
    assert len(sample(seven)) == training_users(seven).users.height == 7
    assert training_digest(seven).startswith("7-")
    assert {*sample(seven)} < {*sample(eight)}
    assert len(sample(eight)) == 8
