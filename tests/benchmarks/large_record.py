"""A record as years would leave it: many runs of layered pipelines over one shared dataset, written in bulk.

Each run has eleven layers of nine tasks. A task reads two artifacts of the layer above, the first layer a
dataset that every run imports, and makes one. The first layer of four runs in five came from the cache.
"""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path
from typing import Any, LiteralString, cast

import sqlalchemy as sa

from penstock.store import migrations
from penstock.store.connection import Database, connect
from penstock.store.schema import metadata

LAYERS, WIDTH = 11, 9
TASKS = LAYERS * WIDTH + 1
"""Records of tasks in a run: that of the run's own DAG is one."""
PIPELINES, EXPERIMENTS = 20, 10
ROOT = "file:///data/artifacts"
DATASET = "01900000-0000-7000-8000-00000000da7a"
_START = 1_700_000_000.0
_BATCH = 100

Rows = dict[str, list[tuple[Any, ...]]]


def identity(kind: str, number: int) -> str:
    """As a UUIDv7: those of one kind sort by their numbers."""
    tail = hashlib.blake2b(f"{kind}{number}".encode(), digest_size=8).hexdigest()
    return f"0190{number >> 16:04x}-{number & 0xFFFF:04x}-7000-8{tail[:3]}-{tail[4:]}"


def write(url: str, tasks: int = 1_000_000) -> None:
    """Fill the database, which need not have tables yet. Its statistics are up to date then."""
    database = connect(url)
    migrations.bring_up_to_date(database)
    indexes = [index for table in metadata.tables.values() for index in table.indexes]
    with database.write() as connection:
        for index in indexes:
            index.drop(connection)
    fill = _Sqlite(url) if url.startswith("sqlite") else _Postgres(url)
    fill.write(_once())
    for first in range(0, tasks // TASKS, _BATCH):
        fill.write(_runs(range(first, min(first + _BATCH, tasks // TASKS))))
    fill.close()
    with database.write() as connection:
        for index in indexes:
            index.create(connection)
    _analyze(database, url)
    database.close()


def _once() -> Rows:
    """What all runs share."""
    return {
        "namespaces": [("default", _START)],
        "experiments": [
            (identity("e", one), "default", f"experiment-{one}", "", "AVAILABLE", _START)
            for one in range(EXPERIMENTS)
        ],
        "pipelines": [
            (identity("p", one), "default", f"pipeline-{one}", "", "", _START) for one in range(PIPELINES)
        ],
        "pipeline_versions": [
            (identity("v", one), identity("p", one), f"{one:064x}", '{"pipeline_spec":{}}', _START)
            for one in range(PIPELINES)
        ],
        "artifacts": [_artifact(DATASET, "dataset", "system.Dataset", "s3://lake/data.csv", _START)],
    }


def _runs(numbers: range) -> Rows:
    rows: Rows = {name: [] for name in metadata.tables}
    for number in numbers:
        _run(number, rows)
    return rows


def _run(number: int, rows: Rows) -> None:
    run, at = identity("r", number), _START + number * 600
    pipeline = number % PIPELINES
    state = "FAILED" if number % 50 == 7 else "SUCCEEDED"
    options = ("{}", f"{ROOT}", "{}", state, "", "{}", "AVAILABLE")
    names = (f"run-{number}", f"pipeline-{pipeline}-{number}")
    experiment = identity("e", number % EXPERIMENTS)
    rows["runs"].append(
        (run, "default", experiment, identity("v", pipeline), *names, *options, at, at, at + 500, None)
    )
    rows["run_heads"].append((run, 3 * TASKS, 0, None, None, 1))
    rows["tasks"].append(_task(run, "", None, "ROOT", False, 3 * TASKS, at))
    importer = identity("x", (number + 1) * 1000)
    rows["executions"].append(_execution(importer, run, "import", None, pipeline, "COMPLETE", None, at))
    first_import = "OUTPUT" if number == 0 else "REUSED"
    rows["lineage_edges"].append((importer, first_import, "artifact", 0, DATASET))
    for layer in range(LAYERS):
        for column in range(WIDTH):
            _leaf(number, layer, column, rows)


def _leaf(number: int, layer: int, column: int, rows: Rows) -> None:
    run, at = identity("r", number), _START + number * 600 + layer
    pipeline, place = number % PIPELINES, layer * WIDTH + column
    path = f"layer-{layer}-{column}"
    origin = number - number // PIPELINES % 5 * PIPELINES
    cached = layer == 0 and origin != number
    mine = (number + 1) * 1000 + place + 1
    execution, attempt = identity("x", mine), identity("t", mine)
    rows["tasks"].append(_task(run, path, "", "CONTAINER", cached, 3 * place + 2, at))
    for step, state in enumerate(("RUNNING", "SUCCEEDED")):
        rows["task_history"].append((run, 3 * place + step + 1, path, 0, state, None, at + step))
    inputs = [DATASET] if layer == 0 else [_made(number, layer - 1, column + more) for more in (0, 1)]
    rows["lineage_edges"].extend((execution, "INPUT", "data", index, one) for index, one in enumerate(inputs))
    if cached:
        former = identity("x", (origin + 1) * 1000 + place + 1)
        rows["executions"].append(_execution(execution, run, path, None, pipeline, "CACHED", former, at))
        rows["lineage_edges"].append((execution, "REUSED", "model", 0, _made(origin, layer, column)))
        return
    process = ("SUCCEEDED", "host/1/x", "process", "process:3.11", at, at + 1, 0, "", "", "{}")
    rows["attempts"].append((attempt, run, path, 0, 1, *process))
    rows["executions"].append(_execution(execution, run, path, attempt, pipeline, "COMPLETE", None, at))
    made = _made(number, layer, column)
    uri = f"{ROOT}/pipeline-{pipeline}/{run}/{path}/{attempt}/model"
    kind = "system.Metrics" if place == TASKS - 2 else "system.Model"
    rows["artifacts"].append(_artifact(made, "model", kind, uri, at))
    rows["lineage_edges"].append((execution, "OUTPUT", "model", 0, made))


def last_made(number: int) -> str:
    """An artifact of the last layer of a run."""
    return _made(number, LAYERS - 1, 0)


def _made(number: int, layer: int, column: int) -> str:
    """The artifact of a task; that of a cached one is its origin's."""
    if layer == 0:
        number -= number // PIPELINES % 5 * PIPELINES
    return identity("a", (number + 1) * 1000 + layer * WIDTH + column % WIDTH)


def _task(run: str, path: str, above: str | None, kind: str, cached: bool, revision: int, at: float) -> Any:
    values = ('{"parameters":{"rate":0.1,"trees":100}}', '{"parameters":{"accuracy":0.9}}', None, cached)
    counts = (None, "", 0, 1, 0, None, "f" * 64, at, at + 1, revision, revision)
    return (run, path, above, kind, "SUCCEEDED", *values, *counts)


def _execution(
    execution: str,
    run: str,
    path: str,
    attempt: str | None,
    pipeline: int,
    state: str,
    former: str | None,
    at: float,
) -> tuple[Any, ...]:
    fingerprint = hashlib.blake2b(f"{former or execution}".encode(), digest_size=32).hexdigest()
    values = ('{"parameters":{"rate":0.1,"trees":100}}', '{"parameters":{"accuracy":0.9}}', at)
    scope = f"pipeline/pipeline-{pipeline}"
    return (execution, run, path, 0, attempt, "default", fingerprint, scope, state, former, *values)


def _artifact(artifact: str, name: str, kind: str, uri: str, at: float) -> tuple[Any, ...]:
    return (artifact, "default", kind, "0.0.1", "", name, uri, "{}", 1000, "a" * 64, "LIVE", at)


class _Sqlite:
    def __init__(self, url: str) -> None:
        self._connection = sqlite3.connect(Path(url.removeprefix("sqlite:///")), isolation_level=None)
        self._connection.execute("PRAGMA synchronous = OFF")

    def write(self, rows: Rows) -> None:
        self._connection.execute("BEGIN")
        for table in metadata.sorted_tables:
            if found := rows.get(table.name):
                marks = ", ".join("?" * len(table.columns))
                self._connection.executemany(f"INSERT INTO {table.name} VALUES ({marks})", found)
        self._connection.execute("COMMIT")

    def close(self) -> None:
        self._connection.close()


class _Postgres:
    def __init__(self, url: str) -> None:
        import psycopg

        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.execute("SET session_replication_role = replica")  # no check of each foreign key

    def write(self, rows: Rows) -> None:
        for table in metadata.sorted_tables:
            if found := rows.get(table.name):
                with self._connection.cursor().copy(
                    cast("LiteralString", f"COPY {table.name} FROM STDIN")
                ) as copy:
                    for row in found:
                        copy.write_row(row)

    def close(self) -> None:
        self._connection.close()


def _analyze(database: Database, url: str) -> None:
    """What a database does by itself now and then."""
    if url.startswith("sqlite"):
        return
    with database.engine.connect() as connection:
        connection.execute(sa.text("ANALYZE"))
