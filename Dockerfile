# One image for every process: the app, the Dagster UI, the daemon and the code server. compose.yaml starts them.
FROM debian:bookworm-slim AS python
# Versions of Debian's packages are those of the release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*

FROM python AS build
# torch for the processor: the usual one brings gigabytes of CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /src
COPY requirements.lock ./
RUN python3 -m venv /opt/spotify_dag \
    && /opt/spotify_dag/bin/pip install --no-cache-dir --no-compile --extra-index-url "$TORCH_INDEX" \
        --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY spotify_dag spotify_dag
RUN /opt/spotify_dag/bin/pip install --no-cache-dir --no-compile --no-deps . \
    && /opt/spotify_dag/bin/pip uninstall --yes pip
# Tests, headers and symbols of libraries are never used. What starting needs is compiled by doing so:
# the file system is read-only later.
COPY deploy/shrink.sh ./
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends binutils \
    && sh shrink.sh /opt/spotify_dag \
    && rm -rf /var/lib/apt/lists/*

FROM python
COPY --from=build /opt/spotify_dag /opt/spotify_dag
RUN useradd --system --uid 1000 --home-dir /tmp listener && install --directory --owner listener /data
USER 1000
ENV PATH=/opt/spotify_dag/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 \
    SPOTIFY_DAG_DATA=/data DAGSTER_HOME=/data/dagster
VOLUME /data
EXPOSE 7860
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:7860/healthz', timeout=4)"]
ENTRYPOINT ["spotify-dag"]
CMD ["app", "--host", "0.0.0.0"]
