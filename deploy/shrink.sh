#!/bin/sh
# Take out of a virtual environment what running does not need: tests, headers, static libraries, symbols of packages.
set -eu
packages=$(echo "$1"/lib/python3*/site-packages)
# Folders called test or testing stay: dagster, torch and others import their own.
find "$packages" -type d -name tests -path '*/site-packages/*/*' ! -path '*/numpy/*' ! -path '*/sklearn/utils/*' \
    -prune -exec rm -rf {} +
rm -rf "$packages"/torch/include "$packages"/torch/share "$packages"/pyarrow/include
find "$packages"/torch/bin -type f ! -name torch_shm_manager -delete
find "$packages" -name '*.a' -delete
# Symbols are for debuggers. Only of libraries that were not patched afterwards: others do not load when stripped.
find "$packages"/torch/lib "$packages"/_polars_runtime_32 "$packages"/pyarrow -name '*.so*' -type f \
    -exec strip --strip-unneeded {} +
# Compile what the commands import, and nothing else. Not here: what lies in this folder would be imported in its place.
cd /
"$1"/bin/spotify-dag --help > /dev/null
"$1"/bin/python3 -c 'import spotify_dag.definitions, spotify_dag.app.asgi, spotify_dag.app.pages, dagster_webserver.cli'
"$1"/bin/python3 -c 'import sentence_transformers, lancedb, deltalake, duckdb, sklearn, implicit, mlflow, matplotlib'
