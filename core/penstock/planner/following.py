"""*next*: which tasks are worth a verdict now?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from penstock.model import ROOT, State, TaskKind
from penstock.model import path as paths
from penstock.planner.ledger import Ledger
from penstock.planner.settle import CONTAINERS


def following(ledger: Ledger, path: str) -> Iterator[str]:
    """Paths to judge because the record at `path` was opened or has ended.

    A DAG that opens offers its first tasks, a loop as many iterations as may be open at once; an ended
    iteration offers the next one, any other ended task those dependents whose upstream tasks have all ended.
    """
    record = ledger.get(path)
    if record is None:
        return
    if not record.state.ended:
        if record.state is State.RUNNING and record.kind in CONTAINERS:
            yield from _opened(ledger, path, record.kind)
        return
    if path == ROOT:
        return
    if path.endswith("]"):
        loop_path = cast("str", paths.container(path))
        if not ledger.stopping(loop_path):
            yield from _iterations(ledger, loop_path)
        return
    parent, name, _ = paths.split(path)
    dag = ledger.place(parent).component.dag
    above = ledger.get(parent)
    if dag is None or above is None or above.state.ended:
        return
    for dependent in dag.dependents.get(name, ()):
        found = paths.child(parent, dependent)
        if ledger.open_upstreams(found) == 0:
            yield found


def resume(ledger: Ledger) -> Iterator[str]:
    """Every path worth a verdict in a run that was interrupted, found from its records alone."""
    open_ones = [
        record for record in ledger.records() if record.state is State.RUNNING and record.kind in CONTAINERS
    ]
    for record in open_ones:
        if record.kind is TaskKind.LOOP:
            for child in list(ledger.children(record.path)):
                if not _ended(ledger, child):
                    yield child
            yield from _iterations(ledger, record.path)
            continue
        if record.retry_at is not None and not any(True for _ in ledger.children(record.path)):
            continue
        dag = ledger.place(record.path).component.dag
        for name in dag.tasks if dag is not None else ():
            path = paths.child(record.path, name)
            if not _ended(ledger, path) and ledger.open_upstreams(path) == 0:
                yield path


def _ended(ledger: Ledger, path: str) -> bool:
    record = ledger.get(path)
    return record is not None and record.state.ended


def _opened(ledger: Ledger, path: str, kind: TaskKind) -> Iterator[str]:
    if kind is TaskKind.LOOP:
        yield from _iterations(ledger, path)
        return
    dag = ledger.place(path).component.dag
    for name in dag.first() if dag is not None else ():
        yield paths.child(path, name)


def _iterations(ledger: Ledger, loop_path: str) -> Iterator[str]:
    record = ledger.get(loop_path)
    task = ledger.place(loop_path).task
    if record is None or record.state.ended or task is None or task.loop is None:
        return
    for index in ledger.offer(loop_path, task.loop.parallelism, cast("int", record.iterations)):
        yield paths.iteration(loop_path, index)
