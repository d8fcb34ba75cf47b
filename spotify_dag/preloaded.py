"""Everything a run may import, for the process that runs are forked from. Nothing else imports this module.

Also what a library imports only when it is asked for something: the stores of MLflow alone take two seconds.

Importing starts nothing that a fork would break: polars, Arrow, Delta and torch make their threads when they first
work, and LanceDB starts its own anew in the child.
"""

import warnings

# LanceDB warns of forks in general; here it has not worked yet when the fork comes.
warnings.filterwarnings("ignore", message="lancedb fork support is experimental")

import deltalake  # noqa: E402, F401, TID253
import implicit  # noqa: E402, F401, TID253
import lancedb  # noqa: E402, F401, TID253
import mlflow.store.model_registry.sqlalchemy_store  # noqa: E402, TID253
import mlflow.store.tracking.sqlalchemy_store  # noqa: E402, F401, TID253
import polars  # noqa: E402, F401, TID253
import pyarrow.parquet  # noqa: E402, F401, TID253
import safetensors.torch  # noqa: E402, F401, TID253
import scipy.sparse  # noqa: E402, F401, TID253
import sentence_transformers  # noqa: E402, F401, TID253
import upath  # noqa: E402, F401

import spotify_dag.definitions  # noqa: E402
import spotify_dag.orchestration.dagster_internals.daemon  # noqa: E402
import spotify_dag.tower.tower_model  # noqa: E402, F401, TID253
