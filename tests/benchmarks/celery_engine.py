"""The Celery engine beside bare Celery: messages, and the canvas.

Its tasks end as they begin, so that what is measured is the engine, its broker and its database.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import yaml

from penstock import ir
from penstock.execution.options import RunOptions
from penstock.execution.settings import load_settings
from penstock.model import Pipeline, State
from penstock.store import Store, new_id
from penstock_workers.engine.broker import Broker
from penstock_workers.engine.engine import ENGINE
from tests.benchmarks.bench import Bench
from tests.benchmarks.celery_side import DONE, bare_app
from tests.benchmarks.outcome import Measurement, Row, beside
from tests.benchmarks.sampling import Samples, interleave, paired_ratio
from tests.databases import Databases
from tests.documents import Shell, pipeline
from tests.services import SERVICES

_WIDE, _LONG, _MESSAGES = 500, 100, 2000
_PATIENCE = 120.0


def measure(bench: Bench) -> Measurement:
    server = os.environ.get(SERVICES["postgres"].variable, "")
    broker = os.environ.get("PENSTOCK_TEST_REDIS_URL", "")
    if not server or not broker:
        return Measurement([], {}, ["Not measured: it needs a PostgreSQL and a Redis."])
    databases = Databases(server)
    with databases.fresh() as url:
        variables = {**bench.variables(), "PENSTOCK_DATABASE_URL": url, "PENSTOCK_BROKER_URL": broker}
        subprocess.run([bench.program, "db", "upgrade"], env=variables, check=True, stdout=subprocess.DEVNULL)
        settings = load_settings(environ=variables, folder=bench.folder)
        with Store.open(url) as store, _worker("ours", variables), _worker("bare", variables):
            samples = _sample(bench, _Runs(store, Broker(settings)), bare_app(broker))
    databases.close()
    wide, long, join = samples["ours: wide"], samples["ours: chain"], samples["canvas: chord"]
    rate = paired_ratio([_MESSAGES / one for one in samples["bare: messages"]], [_WIDE / one for one in wide])
    rows = [
        Row(
            f"{_WIDE} parallel tasks and a join, tasks a second",
            "/s",
            _WIDE / median(wide),
            _MESSAGES / median(samples["bare: messages"]),
            "bare Celery, one message a task",
            1 / rate,
            "≥ 0.1 ×",
            1 / rate >= 0.1,
        ),
        beside(f"{_WIDE} parallel tasks and a join", {"o": wide, "p": join}, "chord", at_most=5),
        beside(
            f"chain of {_LONG} tasks", {"o": long, "p": samples["canvas: chain"]}, "canvas chain", at_most=2
        ),
    ]
    note = (
        "Both workers have one process with eight threads. A task of penstock is claimed, launched by a "
        "launcher whose attempts end at once, and published, in PostgreSQL; Celery's are functions that "
        "return 1, with results in Redis where the canvas needs them."
    )
    return Measurement(rows, samples, [note])


def _sample(bench: Bench, runs: _Runs, app: Any) -> Samples:
    from celery import chain, chord  # pyright: ignore[reportMissingTypeStubs,reportUnknownVariableType]

    names = [f"task-{number}" for number in range(_WIDE)]
    wide = _load("wide", *(Shell(name) for name in names), Shell("join", after=names))
    line = _load("chain", *(Shell(name, after=names[n - 1 : n]) for n, name in enumerate(names[:_LONG])))
    noop, count = app.tasks["bare.noop"], app.tasks["bare.count"]

    def messages() -> float:
        start = time.perf_counter()
        for _ in range(_MESSAGES):
            count.apply_async((_MESSAGES,))
        if app.backend.client.blpop(DONE, timeout=_PATIENCE) is None:
            raise RuntimeError("bare Celery did not get on")
        return time.perf_counter() - start

    def canvas(made: Any) -> float:
        start = time.perf_counter()
        made.apply_async().get(timeout=_PATIENCE, interval=0.01)
        return time.perf_counter() - start

    return interleave(
        bench.count(5, 1),
        {
            "ours: wide": lambda: runs.run(wide),
            "bare: messages": messages,
            "canvas: chord": lambda: canvas(chord((noop.s() for _ in range(_WIDE)), noop.s())),
            "ours: chain": lambda: runs.run(line),
            "canvas: chain": lambda: canvas(chain(*(noop.s() for _ in range(_LONG)))),
        },
    )


def _load(name: str, *tasks: Shell) -> Pipeline:
    return ir.load(yaml.safe_dump(pipeline(name, *tasks)))


@dataclass(frozen=True, slots=True)
class _Runs:
    store: Store
    broker: Broker

    def run(self, loaded: Pipeline) -> float:
        """As `penstock run --on celery` submits it, without the checks of artifact store and cluster."""
        store, options = self.store, RunOptions(cache=False, parallel=_WIDE, engine=ENGINE)
        start = time.perf_counter()
        with store.transaction():
            version = store.pipelines.save(loaded)
            run = store.runs.create(
                new_id(), version_id=version, name="bench", arguments={}, options=options.to_json()
            )
            store.agenda.put(run.id, ENGINE)
        self.broker.hurry(run.id)
        while not (state := store.runs.get(run.id).state).ended:
            if time.perf_counter() - start > _PATIENCE:
                raise RuntimeError("the run does not get on")
            time.sleep(0.01)
        taken = time.perf_counter() - start
        if state is not State.SUCCEEDED:
            raise RuntimeError(f"the run ended {state}")
        return taken


@contextmanager
def _worker(side: str, variables: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.celery_side", side],
        env={**os.environ, **variables, "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
