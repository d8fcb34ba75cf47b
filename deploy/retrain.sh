#!/bin/sh
# Train, and write a report: what the workflow "Retrain" does. SOURCE, FILES and USERS as its inputs.
set -eu
command=.venv/bin/spotify-dag
set -- run --source "$SOURCE" --train --json
if [ -n "$FILES" ]; then set -- "$@" --path "$FILES"; fi
if [ "$SOURCE" = synthetic ]; then set -- "$@" --users "$USERS"; fi
mkdir -p "$SPOTIFY_DAG_DATA/report"
"$command" "$@" > "$SPOTIFY_DAG_DATA/report/run.json"
"$command" models list --json > "$SPOTIFY_DAG_DATA/report/models.json"
