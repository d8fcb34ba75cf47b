"""A source declared in YAML, as ``dg scaffold defs`` writes it, in place of ``spotify-dag run --source``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import dagster as dg
from pydantic import Field, model_validator

from spotify_dag.project import Project
from spotify_dag.sources.base import SourceError

CHECK_SECONDS = 60


class SourceComponent(dg.Component, dg.Model, dg.Resolvable):
    """A source of listeners. A sensor registers it; the graph then reads it like any other.

    Taking the file away does not remove the source: ``spotify-dag run --remove-source`` does, and deletes its users.
    """

    source: str = Field(description="Name of the source: lastfm, mpd, listenbrainz-dump, …")
    options: dict[str, Any] = Field(default={}, description="Its options, as `path: /srv/lastfm`.")

    @model_validator(mode="after")
    def _has_an_absolute_path(self) -> Self:
        path = self.options.get("path")
        # A list of Spotify's users may be the name of a data set.
        if path is not None and self.source != "spotify" and not Path(path).is_absolute():
            raise ValueError(f"options: path must be absolute, not {path}: the folder of the daemon is another")
        return self

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the sensor that registers the source."""
        name, options = self.source, self.options

        @dg.sensor(
            name=f"declared_{name.replace('-', '_')}",
            minimum_interval_seconds=CHECK_SECONDS,
            default_status=dg.DefaultSensorStatus.RUNNING,
            description=f"Registers the source {name} as its defs.yaml declares it.",
        )
        def declared(project: dg.ResourceParam[Project]) -> dg.SkipReason:
            if project.inbox.has_source(name, options):
                return dg.SkipReason("It is registered.")
            try:
                project.inbox.register_source(name, options)
            except SourceError as error:
                raise dg.Failure(str(error), allow_retries=False) from error
            return dg.SkipReason(f"Registered source {name}. The sensor arrivals reports who is new.")

        return dg.Definitions(sensors=[declared])
