"""Telling a person that something went wrong: one JSON message to `SPOTIFY_DAG_ALERT_WEBHOOK`.

What is sent is what the run itself says, in one line, without what names a person or opens a door: user ids become a
short hash, secrets are cut out. A hook that does not answer is logged and changes nothing.
"""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

import dagster as dg
from pydantic import SecretStr

from spotify_dag.orchestration.partitions import spelled, tagged_buckets
from spotify_dag.project import Project
from spotify_dag.schemas import USERS
from spotify_dag.settings import Settings
from spotify_dag.sources import REQUEST_SOURCES, SOURCES

TIMEOUT = 10.0
"""Seconds a hook may take."""
MAX_LINE = 400
RESUMES = "Resume after "
"""What every `sources.base.ResumeLaterError` says: a wait, not a failure."""

_WORD = re.compile(r"[\w.%@+-]+")
_QUOTED = re.compile(r"'([^']+)'|\"([^\"]+)\"")
_NAMED = re.compile(
    rf"\b((?:{'|'.join((*SOURCES, *REQUEST_SOURCES))})-[\w.%@+-]+)"  # ids that sources make
    r"|(?:[Uu]ser|[Ll]ogin|of) '([^']+)'"
    r"|(?:spotify:user:|/users?/)([\w.%@+-]+)"
)
_SECRETS = re.compile(r"(?<=://)[^/\s@]+(?=@)|(?<=Bearer )\S+|(?<=Basic )\S+")


_NO_MARKUP = str.maketrans({"<": "‹", ">": "›", "[": "(", "]": ")", "`": "'"})


@dataclass(frozen=True)
class Alert:
    """What a person is told."""

    title: str
    """What happened."""
    why: str
    """Why, in one line."""
    details: Mapping[str, str] = field(default_factory=dict)
    """The same for machines; what is empty is left out."""
    link: str | None = None

    def payload(self) -> dict[str, str]:
        """Return the message; ``text`` is what Slack and those who speak like it show."""
        lines = [self.title, self.why, *([self.link] if self.link else [])]
        more = {name: value for name, value in self.details.items() if value}
        return {"text": "\n".join(lines), "title": self.title, "why": self.why, **more}


def send(settings: Settings, alert: Alert, log: logging.Logger) -> bool:
    """Post an alert to the hook; return whether it was taken. Never raises for a hook that is not there."""
    import requests

    if settings.alert_webhook is None:
        return False
    try:
        # No redirect is followed: the message is for the host that was configured.
        answer = requests.post(
            settings.alert_webhook.get_secret_value(), json=alert.payload(), timeout=TIMEOUT, allow_redirects=False
        )
    except requests.RequestException as error:
        log.warning("The alert webhook did not take '%s': %s.", alert.title, type(error).__name__)
        return False
    if not answer.ok or answer.is_redirect:
        log.warning("The alert webhook did not take '%s': status %d.", alert.title, answer.status_code)
        return False
    return True


@dg.run_failure_sensor(
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=10,
    monitor_all_code_locations=True,  # runs of the command line belong to none
    description="Posts one message per failed run to SPOTIFY_DAG_ALERT_WEBHOOK.",
)
def alert_on_failure(context: dg.RunFailureSensorContext, project: dg.ResourceParam[Project]) -> dg.SkipReason | None:
    """Send one alert for a failed run."""
    if project.settings.alert_webhook is None:
        return dg.SkipReason("SPOTIFY_DAG_ALERT_WEBHOOK is not set.")
    alert = describe(context, project)
    if RESUMES in alert.why:
        return dg.SkipReason(alert.why)
    send(project.settings, alert, context.log)
    return None


def describe(context: dg.RunFailureSensorContext, project: Project) -> Alert:
    """Return what to say of a failed run."""
    run, settings = context.dagster_run, project.settings
    steps, why = [], context.failure_event.message or "unknown"
    for event in context.get_step_failure_events():
        steps.append(event.step_key or "")
        data = event.step_failure_data
        error = data.error
        while error and error.cause:  # Dagster wraps what user code raised
            error = error.cause
        if data.user_failure_data and data.user_failure_data.description:
            why = data.user_failure_data.description
        elif error:
            why = error.message
    clean = cleaner(project)
    where = spelled(tagged_buckets(run.tags))
    what = f"'{run.job_name}'" + (f" at {', '.join(steps)}" if steps else "")
    buckets = f", bucket{'s' * ('-' in where)} {where}" if where else ""
    return Alert(
        title=f"spotify_dag: run {what} failed{buckets}",
        why=clean(why),
        details={"job": run.job_name, "step": ", ".join(steps), "buckets": where, "run_id": run.run_id},
        link=f"{settings.ui_url.rstrip('/')}/runs/{run.run_id}" if settings.ui_url else None,
    )


def cleaner(project: Project) -> Callable[[str], str]:
    """Return a function that makes one short line of a text, without secrets or user ids."""
    settings = project.settings
    values = [value.get_secret_value() for _, value in settings if isinstance(value, SecretStr)]

    def clean(text: str) -> str:
        line = " ".join(text.split())
        for secret in filter(None, values):
            line = line.replace(secret, "…")
        line = _SECRETS.sub("…", line)
        for user in sorted(_users_in(project, line), key=len, reverse=True):
            line = line.replace(user, f"user#{blake2b(user.encode(), digest_size=4).hexdigest()}")
        # What others wrote is no markup, neither Slack's (`<`) nor that of those who show Markdown (`[`, backquotes).
        line = line.translate(_NO_MARKUP)
        return line if len(line) <= MAX_LINE else line[: MAX_LINE - 1] + "…"

    return clean


def _users_in(project: Project, line: str) -> set[str]:
    """Return the words of a line that name a user: those the lake knows, and whatever messages name as one."""
    import polars as pl

    named = {next(filter(None, groups)) for groups in _NAMED.findall(line)}
    quoted = {next(filter(None, groups)) for groups in _QUOTED.findall(line)}
    words = quoted | set(_WORD.findall(line)) | {word.strip(".") for word in _WORD.findall(line)}
    try:
        users = project.lake.scan(USERS).filter(pl.col("user_id").is_in(sorted(words))).select("user_id").collect()
    except Exception:  # whatever is wrong with the lake may be what this alert is about: rather hide too much
        return named | quoted
    return named | set(users["user_id"])
