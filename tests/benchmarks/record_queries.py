"""Asking and clearing a record of a million tasks, in SQLite and, where there is a server, in PostgreSQL."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from penstock.store import Rule, Store
from tests.benchmarks import large_record
from tests.benchmarks.bench import Bench
from tests.benchmarks.outcome import Measurement, Row, alone
from tests.benchmarks.sampling import Samples, interleave, seconds
from tests.databases import Databases

_MOST = 200.0
_PAGE = 100
_DEPTH = 10


def measure(bench: Bench) -> Measurement:
    tasks = bench.count(1_000_000, 20_000)
    rows: list[Row] = []
    samples: Samples = {}
    for name, place in (("SQLite", _sqlite), ("PostgreSQL", _postgresql)):
        with place() as url:
            if not url:
                bench.tell(f"no {name} here: PENSTOCK_TEST_POSTGRES_URL is not set")
                continue
            bench.tell(f"writing {tasks:,} task records to {name}")
            large_record.write(url, tasks)
            with Store.open(url) as store:
                found = _sample(bench, store, tasks // large_record.TASKS)
        for what, taken in found.items():
            samples[f"{name}: {what}"] = taken
            rows.append(alone(f"{what}, {name}", statistics.median(taken) * 1000, "ms", at_most=_MOST))
    note = (
        f"The record has {tasks:,} tasks in runs of {large_record.TASKS}, as many executions and attempts, "
        "three times as many lineage edges, written in bulk. The lineage is that of a run's last artifact "
        f"through {_DEPTH} tasks; the dataset has been read by all runs. A gc page is ten runs, marked and "
        "taken away with all that hangs on them; their content and logs are not part of it."
    )
    return Measurement(rows, samples, [note])


def _sample(bench: Bench, store: Store, runs: int) -> Samples:
    every = count(1)
    leaving = store.removals.choose(Rule())

    def some_run() -> int:
        """Another one each time, so that nothing is had for having been asked before; not one that leaves."""
        return next(every) * 7919 % (runs // 2)

    def run_id() -> str:
        return large_record.identity("r", some_run())

    def lineage() -> float:
        artifact = large_record.last_made(some_run())
        return seconds(lambda: store.lineage.upstream(artifact, _DEPTH))

    def tasks() -> float:
        run = run_id()
        return seconds(lambda: store.tasks.page(run, limit=_PAGE))

    def page() -> float:
        marked = [leaving.pop(0) for _ in range(1000 // large_record.TASKS)]
        sizes = {one.run_id: one.size for one in store.removals.footprints(marked).values()}
        return seconds(lambda: _remove(store, sizes))

    def before(listed: Callable[[str], object], kind: Callable[[], str]) -> float:
        last = kind()
        return seconds(lambda: listed(last))

    contenders: dict[str, Callable[[], float]] = {
        "list 100 runs": lambda: before(lambda last: store.runs.list(limit=_PAGE, before=last), run_id),
        "list 100 tasks of a run": tasks,
        "list 100 artifacts": lambda: before(
            lambda last: store.artifacts.list(limit=_PAGE, before=last),
            lambda: large_record.last_made(some_run()),
        ),
        f"lineage of depth {_DEPTH}": lineage,
        "what 1,000 tasks read of a dataset": lambda: seconds(
            lambda: store.lineage.downstream(large_record.DATASET, 1)
        ),
        "one gc page of 1,000 tasks": page,
    }
    return interleave(bench.count(15, 3), contenders)


def _remove(store: Store, sizes: dict[str, int]) -> None:
    if store.removals.mark(list(sizes), sizes).kept:
        raise RuntimeError("the newest runs are in nobody's use, and were kept")
    while store.removals.purge() is not None:
        pass


@contextmanager
def _sqlite() -> Iterator[str]:
    """Outside of the checkout: the file has gigabytes."""
    folder = "/var/tmp" if os.access("/var/tmp", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="penstock-bench-", dir=folder) as place:
        yield f"sqlite:///{place}/penstock.db"


@contextmanager
def _postgresql() -> Iterator[str]:
    server = os.environ.get("PENSTOCK_TEST_POSTGRES_URL", "")
    if not server:
        yield ""
        return
    databases = Databases(server)
    try:
        with databases.fresh() as url:
            yield url
    finally:
        databases.close()
