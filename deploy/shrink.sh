#!/bin/sh
# Take out of a virtual environment what running does not need: tests, headers and static libraries of packages.
set -eu
packages=$(echo "$1"/lib/python3*/site-packages)
find "$packages" -type d \( -name tests -o -name test -o -name testing \) \
    -path '*/site-packages/*/*' ! -path '*/numpy/*' ! -path '*/pandas/_testing*' ! -path '*/torch/testing' \
    ! -path '*/sklearn/utils/*' -prune -exec rm -rf {} +
rm -rf "$packages"/torch/include "$packages"/torch/share "$packages"/pyarrow/include "$packages"/torch/bin
find "$packages" -name '*.a' -delete
# Compile what the commands import, and nothing else.
"$1"/bin/spotify-dag --help > /dev/null
"$1"/bin/python3 -c 'import spotify_dag.definitions, spotify_dag.app.asgi, spotify_dag.app.pages, dagster_webserver.cli'
"$1"/bin/python3 -c 'import sentence_transformers, lancedb, deltalake, duckdb, sklearn, implicit, mlflow, matplotlib'
