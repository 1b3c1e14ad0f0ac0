"""The store, beside bare SQLAlchemy Core that sends the same inserts and updates in as many transactions."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from penstock.model import Component, Dag, Interface, Pipeline, State, TaskKind, TaskRun, Values
from penstock.store import AttemptState, ExecutionState, Store, new_id
from penstock.store import schema as tables
from tests.benchmarks.bench import Bench
from tests.benchmarks.outcome import Measurement, Row, beside
from tests.benchmarks.sampling import Samples, interleave, seconds
from tests.databases import Databases
from tests.services import SERVICES

_TASKS = 1000
_RUNS = 100
_DECODED = ("arguments", "options", "outputs")
_PAGE = 100
_INPUTS = Values({"rows": 150, "name": "iris", "rate": 0.1})
_OUTPUTS = Values({"accuracy": 0.9777777777777777, "labels": ["setosa", "versicolor", "virginica"]})
_INPUTS_TEXT = '{"parameters":{"rows":150,"name":"iris","rate":0.1}}'
_OUTPUTS_TEXT = '{"parameters":{"accuracy":0.9777777777777777,"labels":["setosa","versicolor","virginica"]}}'
_ARGUMENTS = {"seed": 1, "data": "file:///data/iris.csv"}


def measure(bench: Bench) -> Measurement:
    rows: list[Row] = []
    samples: Samples = {}
    with _databases(bench) as databases:
        for name, (ours_url, bare) in databases.items():
            with Store.open(ours_url) as store:
                for what, contenders in _contenders(store, bare).items():
                    found = interleave(bench.count(9, 3), contenders)
                    label = f"{what}, {name}"
                    rows.append(beside(label, found, "SQLAlchemy Core", unit="ms", scale=1000, at_most=2))
                    samples.update({f"{label}: {side}": values for side, values in found.items()})
            bare.dispose()
    note = (
        "A task takes two transactions: one claims an attempt and records RUNNING, one ends the attempt, "
        "records the execution and SUCCEEDED. The peer writes the same rows from ready texts and asks "
        "nothing; the store also locks the run, checks its lease, compares states, and writes values as "
        "JSON. For a list both decode what stands as JSON."
    )
    missing = "" if "PostgreSQL" in databases else " There was no PostgreSQL here."
    return Measurement(rows, samples, [note + missing])


@contextmanager
def _databases(bench: Bench) -> Iterator[dict[str, tuple[str, sa.Engine]]]:
    """Of each kind the URL of one for the store, and an engine on a copy of it for the peer."""
    from penstock.store import upkeep

    with ExitStack() as opened:
        found: dict[str, tuple[str, sa.Engine]] = {}
        urls = [f"sqlite:///{bench.home}/{name}.db" for name in ("ours", "bare")]
        for url in urls:
            upkeep.upgrade(url)
        found["SQLite"] = (urls[0], _bare_sqlite(urls[1]))
        server = os.environ.get(SERVICES["postgres"].variable)
        if server:
            databases = Databases(server)
            opened.callback(databases.close)
            urls = [opened.enter_context(databases.fresh()) for _ in range(2)]
            for url in urls:
                upkeep.upgrade(url)
            plain = sa.create_engine(urls[1].replace("postgresql://", "postgresql+psycopg://"))
            found["PostgreSQL"] = (urls[0], plain)
        yield found


def _bare_sqlite(url: str) -> sa.Engine:
    """With the settings of the store: what a commit costs is the same."""
    engine = sa.create_engine(url)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, entry: object) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.isolation_level = None
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _contenders(store: Store, bare: sa.Engine) -> Mapping[str, Mapping[str, Callable[[], float]]]:
    ours, peer = _Ours(store), _Bare(bare)
    return {
        f"create {_RUNS} runs": {
            "store": lambda: seconds(lambda: [ours.create() for _ in range(_RUNS)]),
            "bare": lambda: seconds(lambda: [peer.create() for _ in range(_RUNS)]),
        },
        f"record {_TASKS:,} tasks through their states": {"store": ours.tasks, "bare": peer.tasks},
        f"list {_PAGE} runs": {
            "store": lambda: seconds(lambda: store.runs.list(limit=_PAGE)),
            "bare": lambda: seconds(peer.list),
        },
    }


def _pipeline() -> Pipeline:
    return Pipeline(
        name="bench",
        root=Component("root", Interface(), Dag({})),
        components={},
        executors={},
        schema_version="2.1.0",
        digest="d",
        document={"pipelineInfo": {"name": "bench"}},
        platform={},
    )


class _Ours:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._version = store.pipelines.save(_pipeline())

    def create(self) -> str:
        return self._store.runs.create(
            new_id(), version_id=self._version, name="a run", arguments=_ARGUMENTS, experiment="Default"
        ).id

    def tasks(self) -> float:
        run_id = self.create()
        store = self._store
        token = store.leases.claim(run_id, "bench", 600)

        def all_of_them() -> None:
            for number in range(_TASKS):
                path = f"for-loop-1[{number}]/train"
                new = TaskRun(path, TaskKind.CONTAINER, State.RUNNING, _INPUTS, started_at=time.time())
                with store.transaction():
                    attempt = store.attempts.claim(run_id, path, 0, 1, owner="bench", token=token)
                    store.tasks.record(run_id, [new], token=token)
                now = time.time()
                ended = TaskRun(path, TaskKind.CONTAINER, State.SUCCEEDED, _INPUTS, _OUTPUTS, ended_at=now)
                with store.transaction():
                    store.attempts.finish(attempt.id, AttemptState.SUCCEEDED, exit_code=0)
                    store.executions.record(
                        run_id,
                        path,
                        0,
                        ExecutionState.COMPLETE,
                        inputs=_INPUTS,
                        outputs=_OUTPUTS,
                        attempt_id=attempt.id,
                        fingerprint="f",
                        cache_scope="pipeline/bench",
                    )
                    store.tasks.record(run_id, [ended], token=token)

        return seconds(all_of_them)


class _Bare:
    """Statements are made once; SQLAlchemy's cache does the rest, as for the store."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        now = time.time()
        self._of_version, self._of_experiment = new_id(), new_id()
        pipeline_id = new_id()
        named = {"namespace": "default", "created_at": now}
        with engine.begin() as connection:
            connection.execute(sa.insert(tables.namespaces), {"name": "default", "created_at": now})
            connection.execute(
                sa.insert(tables.experiments),
                {
                    **named,
                    "id": self._of_experiment,
                    "name": "Default",
                    "description": "",
                    "storage_state": "AVAILABLE",
                },
            )
            connection.execute(
                sa.insert(tables.pipelines),
                {**named, "id": pipeline_id, "name": "bench", "display_name": "", "description": ""},
            )
            connection.execute(
                sa.insert(tables.pipeline_versions),
                {
                    "id": self._of_version,
                    "pipeline_id": pipeline_id,
                    "digest": "d",
                    "document": "{}",
                    "created_at": now,
                },
            )
        runs, heads = tables.runs, tables.run_heads
        self._list = (
            sa.select(
                *(column for column in runs.c), *(column for column in heads.c if column.name != "run_id")
            )
            .join(heads, heads.c.run_id == runs.c.id)
            .order_by(runs.c.created_at.desc(), runs.c.id.desc())
            .limit(_PAGE)
        )
        self._advance = sa.update(heads).where(heads.c.run_id == sa.bindparam("of_run"))
        self._end_attempt = sa.update(tables.attempts).where(
            tables.attempts.c.id == sa.bindparam("of_attempt")
        )
        self._end_task = sa.update(tables.tasks).where(
            tables.tasks.c.run_id == sa.bindparam("of_run"), tables.tasks.c.path == sa.bindparam("at")
        )

    def create(self) -> str:
        run_id = new_id()
        with self._engine.begin() as connection:
            connection.execute(
                sa.insert(tables.runs), _run_row(run_id, self._of_version, self._of_experiment)
            )
            head = {"run_id": run_id, "revision": 0, "generation": 0, "token": 0}
            connection.execute(sa.insert(tables.run_heads), head)
        return run_id

    def list(self) -> object:
        with self._engine.connect() as connection:
            found = connection.execute(self._list).mappings()
            return [{**row, **{name: json.loads(row[name]) for name in _DECODED}} for row in found]

    def tasks(self) -> float:
        run_id = self.create()

        def all_of_them() -> None:
            for number in range(_TASKS):
                path, attempt_id = f"for-loop-1[{number}]/train", new_id()
                with self._engine.begin() as connection:
                    self._begin_task(connection, run_id, path, attempt_id, 2 * number + 1)
                with self._engine.begin() as connection:
                    self._publish_task(connection, run_id, path, attempt_id, 2 * number + 2)

        return seconds(all_of_them)

    def _begin_task(
        self, connection: sa.Connection, run_id: str, path: str, attempt_id: str, revision: int
    ) -> None:
        connection.execute(sa.insert(tables.attempts), _attempt_row(run_id, path, attempt_id))
        connection.execute(sa.insert(tables.tasks), _task_row(run_id, path, revision))
        self._change(connection, run_id, path, revision, "RUNNING")

    def _publish_task(
        self, connection: sa.Connection, run_id: str, path: str, attempt_id: str, revision: int
    ) -> None:
        now = time.time()
        ended = {"state": "SUCCEEDED", "ended_at": now}
        end = {**ended, "of_attempt": attempt_id, "exit_code": 0, "error": "", "log": "", "notes": "{}"}
        connection.execute(self._end_attempt, end)
        connection.execute(sa.insert(tables.executions), _execution_row(run_id, path, attempt_id))
        changed = _task_row(run_id, path, revision)
        for name in ("run_id", "path", "parent_path", "first_revision"):
            del changed[name]
        changed |= {**ended, "outputs": _OUTPUTS_TEXT, "of_run": run_id, "at": path}
        connection.execute(self._end_task, changed)
        self._change(connection, run_id, path, revision, "SUCCEEDED")

    def _change(self, connection: sa.Connection, run_id: str, path: str, revision: int, state: str) -> None:
        entry = {"run_id": run_id, "revision": revision, "path": path, "generation": 0, "state": state}
        connection.execute(sa.insert(tables.task_history), {**entry, "reason": None, "at": time.time()})
        connection.execute(self._advance, {"of_run": run_id, "revision": revision, "generation": 0})


def _run_row(run_id: str, version: str, experiment: str) -> dict[str, Any]:
    return {
        "id": run_id,
        "namespace": "default",
        "experiment_id": experiment,
        "version_id": version,
        "name": "a run",
        "resource_name": "",
        "arguments": '{"seed":1,"data":"file:///data/iris.csv"}',
        "pipeline_root": "",
        "options": "{}",
        "state": "PENDING",
        "error": "",
        "outputs": "{}",
        "storage_state": "AVAILABLE",
        "created_at": time.time(),
    }


def _attempt_row(run_id: str, path: str, attempt_id: str) -> dict[str, Any]:
    return {
        "id": attempt_id,
        "run_id": run_id,
        "path": path,
        "generation": 0,
        "number": 1,
        "state": "RUNNING",
        "owner": "bench",
        "launcher": "",
        "isolation": "",
        "started_at": time.time(),
        "ended_at": None,
        "exit_code": None,
        "error": "",
        "log": "",
        "notes": "{}",
    }


def _task_row(run_id: str, path: str, revision: int) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "path": path,
        "parent_path": path.rpartition("/")[0],
        "kind": "CONTAINER",
        "state": "RUNNING",
        "inputs": _INPUTS_TEXT,
        "outputs": "{}",
        "iterations": None,
        "cached": False,
        "reason": None,
        "error": "",
        "generation": 0,
        "attempts": 0,
        "retries": 0,
        "retry_at": None,
        "fingerprint": "",
        "started_at": time.time(),
        "ended_at": None,
        "first_revision": revision,
        "revision": revision,
    }


def _execution_row(run_id: str, path: str, attempt_id: str) -> dict[str, Any]:
    return {
        "id": new_id(),
        "run_id": run_id,
        "path": path,
        "generation": 0,
        "attempt_id": attempt_id,
        "namespace": "default",
        "fingerprint": "f",
        "cache_scope": "pipeline/bench",
        "state": "COMPLETE",
        "cached_execution_id": None,
        "inputs": _INPUTS_TEXT,
        "outputs": _OUTPUTS_TEXT,
        "created_at": time.time(),
    }
