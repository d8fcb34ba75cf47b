# The image of runs, daemon, code server, UI and app on Kubernetes, with Ray or without:
# docker build --file deploy/cluster.Dockerfile --tag spotify-dag-cluster .
# Ray's version is that of raycluster.yaml.
FROM rayproject/ray:2.60.0-py312-cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /home/ray/spotify_dag
COPY --chown=ray requirements.lock pyproject.toml README.md LICENSE ./
COPY --chown=ray spotify_dag spotify_dag
RUN pip install --no-cache-dir --extra-index-url "$TORCH_INDEX" --constraint requirements.lock '.[postgres,ray,k8s]'
