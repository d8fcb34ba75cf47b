"""What is used of Dagster's private interfaces is as it was in 1.13: each test names one, and who uses it.

A failure after Dagster's cap in ``pyproject.toml`` was raised says what has to be looked at first.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

FENCE = "spotify_dag/orchestration/dagster_internals"


def private(module: str, name: str, used_in: str) -> Any:
    """Return a private object of Dagster, or fail with where it is used."""
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        pytest.fail(f"Dagster {dg.__version__} has no {module}.{name} ({error}); {FENCE}/{used_in} needs it.")


def assert_takes(function: Callable[..., object], used_in: str, *arguments: object, **named: object) -> None:
    """Assert that a function can be called in this way."""
    try:
        inspect.signature(function).bind(*arguments, **named)
    except TypeError as error:
        name = f"{function.__module__}.{function.__qualname__}"
        pytest.fail(f"Dagster {dg.__version__} changed {name}: {error}; {FENCE}/{used_in} calls it otherwise.")


def assert_has(thing: object, used_in: str, *names: str) -> None:
    """Assert that an object has attributes."""
    missing = [name for name in names if not hasattr(thing, name)]
    assert not missing, f"Dagster {dg.__version__}: {thing} has no {missing}; {FENCE}/{used_in} needs it."


def abstract(kind: type) -> set[str]:
    """Return what a subclass has to define."""
    return set(getattr(kind, "__abstractmethods__", ()))


def test_run_launcher() -> None:
    kind = private("dagster._core.launcher", "RunLauncher", "launcher.py")
    assert abstract(kind) == {"launch_run", "terminate"}, f"{FENCE}/launcher.py defines other methods."
    assert_has(kind, "launcher.py", "_instance", "supports_check_run_worker_health", "register_instance")
    assert_takes(kind.check_run_worker_health, "launcher.py", object(), object())
    assert_takes(kind.launch_run, "launcher.py", object(), object())
    assert_takes(kind.terminate, "launcher.py", object(), "run id")


def test_launch_run_context() -> None:
    kind = private("dagster._core.launcher", "LaunchRunContext", "launcher.py")
    assert_takes(kind, "launcher.py", object(), workspace=None)
    assert_has(kind, "launcher.py", "dagster_run", "job_code_origin")


def test_health_of_a_run() -> None:
    status = private("dagster._core.launcher", "WorkerStatus", "launcher.py")
    kind = private("dagster._core.launcher", "CheckRunHealthResult", "launcher.py")
    assert_has(status, "launcher.py", "FAILED", "RUNNING")
    found = kind(status.FAILED, "gone")
    assert (found.status, found.msg) == (status.FAILED, "gone")


def test_arguments_of_a_run_survive_the_way_into_another_process() -> None:
    kind = private("dagster._grpc.types", "ExecuteRunArgs", "launcher.py")
    assert_takes(kind.__new__, "launcher.py", kind, object(), "run id", None)
    write = private("dagster._serdes", "serialize_value", "launcher.py")
    read = private("dagster._serdes", "deserialize_value", "launcher.py")
    origin = private("dagster._core.origin", "JobPythonOrigin", "launcher.py")
    repository = private("dagster._core.origin", "RepositoryPythonOrigin", "launcher.py")
    pointer = private("dagster._core.code_pointer", "ModuleCodePointer", "launcher.py")
    code = repository("python", code_pointer=pointer("spotify_dag.definitions", "defs"), entry_point=["dagster"])
    arguments = kind(origin("ingest", code), "run id", None)
    assert read(write(arguments), kind) == arguments


def test_command_that_executes_a_run() -> None:
    command = private("dagster._cli.api", "execute_run_command", "launcher.py")
    assert_takes(command.main, "launcher.py", args=["{}"], standalone_mode=False)
    assert command.params[0].name == "input_json", f"{FENCE}/launcher.py hands the arguments in as the first."


def test_not_none() -> None:
    check = private("dagster", "_check", "launcher.py")
    assert check.not_none(1) == 1
    with pytest.raises(check.CheckError):
        check.not_none(None)


def test_configurable_class() -> None:
    kind = private("dagster._serdes", "ConfigurableClass", "launcher.py and storage.py")
    data = private("dagster._serdes", "ConfigurableClassData", "launcher.py and storage.py")
    assert abstract(kind) == {"inst_data", "config_type", "from_config_value"}, f"{FENCE}/launcher.py defines others."
    assert_takes(kind.from_config_value, "storage.py", inst_data=None, config_value={})
    assert_takes(data, "launcher.py", "module", "class", "{}")


def test_sqlite_storage() -> None:
    kind = private("dagster._core.storage.sqlite_storage", "DagsterSqliteStorage", "storage.py")
    assert_takes(kind, "storage.py", "folder", None)
    assert_takes(kind.from_local, "storage.py", inst_data=None, base_dir="folder")


def test_daemon() -> None:
    main = private("dagster._daemon.cli", "main", "daemon.py")
    assert_takes(main, "daemon.py")
    command = private("dagster._daemon.cli", "cli", "daemon.py").commands["run"]
    assert any("--workspace" in parameter.opts for parameter in command.params), "`spotify-dag up` names a workspace."


def test_history_of_a_check(instance: dg.DagsterInstance) -> None:
    storage = instance.event_log_storage
    key = dg.AssetCheckKey(dg.AssetKey("a"), "check")
    assert_takes(storage.get_asset_check_execution_history, "records.py", key, limit=2)
    for passed in (True, False):
        evaluation = dg.AssetCheckEvaluation(asset_key=key.asset_key, check_name=key.name, passed=passed)
        instance.report_runless_asset_event(evaluation)
    records = storage.get_asset_check_execution_history(key, limit=2)
    found = [(record.run_id, record.event.asset_check_evaluation.passed) for record in records]
    assert found == [("", False), ("", True)], f"{FENCE}/records.py reads the run id and the event, the last one first."


def test_pools(instance: dg.DagsterInstance) -> None:
    storage = instance.event_log_storage
    assert_has(storage, "records.py", "get_concurrency_keys", "get_concurrency_info", "free_concurrency_slots_for_run")
    storage.set_concurrency_slots("pool", 1)
    assert storage.claim_concurrency_slot("pool", "a run", "a step").is_claimed
    assert storage.get_concurrency_keys() == {"pool"}
    places = storage.get_concurrency_info("pool")
    assert [place.run_id for place in places.claimed_slots] == ["a run"]
    assert [step.run_id for step in places.pending_steps] == ["a run"]
    storage.free_concurrency_slots_for_run("a run")
    assert not storage.get_concurrency_info("pool").claimed_slots


@pytest.mark.medium
def test_webserver() -> None:
    make = private("dagster_webserver.cli", "create_app_from_workspace_process_context", "webserver.py")
    assert_takes(make, "webserver.py", object(), "", 2_000, lifespan=None)
    serve = private("dagster_webserver.cli", "host_dagster_ui_with_workspace_process_context", "webserver.py")
    assert "create_app_from_workspace_process_context" in serve.__code__.co_names, "it is called by its global name"


def test_asset_daemon() -> None:
    kind = private("dagster._daemon.asset_daemon", "AssetDaemon", "daemon.py")
    assert_takes(
        kind._run_iteration_impl,
        "daemon.py",
        object(),
        object(),
        threadpool_executor=None,
        amp_tick_futures={},
        debug_crash_flags={},
    )
    assert private("dagster._daemon.controller", "AssetDaemon", "daemon.py") is kind
    statuses = private("dagster._core.execution.backfill", "BulkActionStatus", "daemon.py")
    ended = private("dagster._core.execution.backfill", "BULK_ACTION_TERMINAL_STATUSES", "daemon.py")
    assert set(ended) < set(statuses)


def test_server_watcher() -> None:
    module = importlib.import_module("dagster._grpc.server_watcher")
    assert_has(module, "code_server.py", "WATCH_INTERVAL")
    source = inspect.getsource(module.watch_grpc_server_thread)
    assert "WATCH_INTERVAL" in source, f"Dagster {dg.__version__} reads it elsewhere; {FENCE}/code_server.py"
