"""*settle*: when a task has ended, what follows for the loops, DAGs and the run that contain it?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast

from penstock.model import (
    NOTHING,
    Artifact,
    DagOutput,
    Json,
    Reason,
    Retry,
    State,
    TaskKind,
    TaskRun,
    Values,
)
from penstock.model import path as paths
from penstock.planner.ledger import Ledger

CONTAINERS = frozenset({TaskKind.ROOT, TaskKind.DAG, TaskKind.LOOP})


@dataclass(frozen=True, slots=True)
class Restart:
    """A nested pipeline failed and starts anew after `delay` seconds: `record` replaces its record, `removed`
    go.
    """

    record: TaskRun
    removed: tuple[str, ...]
    delay: float


@dataclass(frozen=True, slots=True)
class Settlement:
    """`ended` are the new records of what ended around the task, innermost first; the ledger has them
    already.
    """

    ended: tuple[TaskRun, ...] = ()
    restart: Restart | None = None


def settle(ledger: Ledger, path: str) -> Settlement:
    """What ends, or starts anew, because the record at `path` ended or was opened. Applies it to the
    ledger.
    """
    ended: list[TaskRun] = []
    record = ledger.get(path)
    current = path if record is not None and _is_open(record) else paths.container(path)
    while current is not None:
        record = ledger.get(current)
        if record is None or not _is_open(record) or not _is_complete(ledger, record):
            break
        closed = _close(ledger, record)
        if closed.state is State.FAILED:
            restart = _restart(ledger, closed)
            if restart is not None:
                return Settlement(tuple(ended), restart)
            if not closed.path.endswith("]") and is_cut_short(ledger, closed.path, closed.retries + 1):
                closed = replace(closed, state=State.CANCELED, reason=Reason.CANCELED)
        ledger.apply(closed)
        ended.append(closed)
        current = paths.container(current)
    return Settlement(tuple(ended))


def retry_delay(retry: Retry, failures: int) -> float | None:
    """Seconds to wait before the next try after the `failures`-th failure (1 = first), None when none is
    left.
    """
    if failures > retry.max_retries:
        return None
    try:
        delay = retry.backoff * retry.factor ** (failures - 1)
    except OverflowError:
        delay = retry.backoff_max
    return min(delay, retry.backoff_max) if retry.backoff_max > 0 else delay


def may_retry(ledger: Ledger, path: str, failures: int) -> float | None:
    """The delay before the next try of the task at `path`, None when its policy, or the run's end, forbids
    one.
    """
    return None if ledger.canceled else _delay(ledger, path, failures)


def is_cut_short(ledger: Ledger, path: str, failures: int) -> bool:
    """Whether the task at `path` would be tried again if the run were not being canceled: then it did not
    fail, but was canceled, as it would have been while it waited.
    """
    return ledger.canceled and _delay(ledger, path, failures) is not None


def _delay(ledger: Ledger, path: str, failures: int) -> float | None:
    task = ledger.place(path).task
    return None if task is None or task.retry is None else retry_delay(task.retry, failures)


def _is_open(record: TaskRun) -> bool:
    return record.kind in CONTAINERS and record.state in (
        State.RUNNING,
        State.CANCELING,
    )


def _is_complete(ledger: Ledger, record: TaskRun) -> bool:
    recorded, ended, _, _ = ledger.counts(record.path)
    if record.kind is TaskKind.LOOP:
        expected = recorded if ledger.stopping(record.path) else cast("int", record.iterations)
    else:
        dag = ledger.place(record.path).component.dag
        expected = len(dag.tasks) if dag is not None else 0
    return ended >= expected


def _close(ledger: Ledger, record: TaskRun) -> TaskRun:
    recorded, _, failed, stopped = ledger.counts(record.path)
    unfinished = record.kind is TaskKind.LOOP and recorded < cast("int", record.iterations)
    if record.kind is TaskKind.ROOT and ledger.overdue:
        state, reason, error = State.FAILED, Reason.DEADLINE, ledger.overdue
    elif ledger.canceled and (unfinished or (stopped and _was_canceled(ledger, record))):
        # Also where something failed before: what the rest would have done, nobody knows.
        state, reason, error = State.CANCELED, Reason.CANCELED, ""
    elif failed:
        state, reason, error = (
            State.FAILED,
            Reason.CHILD_FAILED,
            _first_error(ledger, record),
        )
    elif stopped or unfinished:
        state, reason, error = State.SKIPPED, Reason.FAIL_FAST, ""
    else:
        state, reason, error = State.SUCCEEDED, None, ""
    outputs = _collected(ledger, record) if record.kind is TaskKind.LOOP else _dag_outputs(ledger, record)
    return replace(record, state=state, reason=reason, error=error, outputs=outputs, retry_at=None)


def _was_canceled(ledger: Ledger, record: TaskRun) -> bool:
    return any(child.state is State.CANCELED for child in _in_order(ledger, record))


def _restart(ledger: Ledger, closed: TaskRun) -> Restart | None:
    if closed.path.endswith("]"):
        return None
    delay = may_retry(ledger, closed.path, closed.retries + 1)
    if delay is None:
        return None
    removed = tuple(ledger.descendants(closed.path))
    record = replace(
        closed,
        state=State.RUNNING,
        reason=None,
        outputs=NOTHING,
        generation=ledger.next_generation(),
        retries=closed.retries + 1,
    )
    ledger.forget(removed)
    ledger.apply(record)
    return Restart(record, removed, delay)


def _in_order(ledger: Ledger, record: TaskRun) -> Iterator[TaskRun]:
    """Recorded children in the pipeline's order, whatever order they ran in."""
    if record.kind is TaskKind.LOOP:
        every = (paths.iteration(record.path, index) for index in range(cast("int", record.iterations)))
    else:
        dag = ledger.place(record.path).component.dag
        every = (paths.child(record.path, name) for name in (dag.tasks if dag is not None else ()))
    return (found for path in every if (found := ledger.get(path)) is not None)


def _first_error(ledger: Ledger, record: TaskRun) -> str:
    for child in _in_order(ledger, record):
        if child.state is State.FAILED:
            return child.error if child.kind in CONTAINERS and child.error else f"{child.path}: {child.error}"
    return ""


def _dag_outputs(ledger: Ledger, record: TaskRun) -> Values:
    dag = ledger.place(record.path).component.dag
    if dag is None:
        return NOTHING
    parameters: dict[str, Json] = {}
    for name, output in dag.parameters.items():
        for values, key in _selected(ledger, record.path, output):
            if key in values.parameters:
                parameters[name] = values.parameters[key]
                break
    artifacts: dict[str, tuple[Artifact, ...]] = {}
    for name, output in dag.artifacts.items():
        for values, key in _selected(ledger, record.path, output):
            if key in values.artifacts:
                artifacts[name] = values.artifacts[key]
                break
    return Values(parameters, artifacts) if parameters or artifacts else NOTHING


def _selected(ledger: Ledger, dag_path: str, output: DagOutput) -> Iterator[tuple[Values, str]]:
    """The outputs that the selectors offer. `OneOf` takes the first whose task succeeded (KFP: COMPLETE or
    CACHED).
    """
    for selector in output.selectors:
        child = ledger.get(paths.child(dag_path, selector.task))
        if child is not None and (child.state is State.SUCCEEDED or not output.one_of):
            yield child.outputs, selector.output


def _collected(ledger: Ledger, record: TaskRun) -> Values:
    """`dsl.Collected`: parameters as one list per loop, artifacts as one flat list; iterations without a
    value are left out.

    KFP's backend flattens nested parameter lists as well; its SDK types them as nested, which is what we do.
    """
    component = ledger.place(record.path).component
    dag = component.dag
    interface = component.interface
    parameters: dict[str, list[Json]] = {
        name: [] for name in (dag.parameters if dag is not None else interface.output_parameters)
    }
    artifacts: dict[str, list[Artifact]] = {
        name: [] for name in (dag.artifacts if dag is not None else interface.output_artifacts)
    }
    if not parameters and not artifacts:
        return NOTHING
    for child in _in_order(ledger, record):
        for name, collected in parameters.items():
            if name in child.outputs.parameters:
                collected.append(child.outputs.parameters[name])
        for name, many in artifacts.items():
            many.extend(child.outputs.artifacts.get(name, ()))
    return Values(
        {name: list(collected) for name, collected in parameters.items()},
        {name: tuple(many) for name, many in artifacts.items()},
    )
