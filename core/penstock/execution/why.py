"""`why`: one sentence on the state of a task, from what is recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping

from penstock.errors import NotFoundError
from penstock.execution.session import Session, open_session
from penstock.execution.waiting import not_begun, ready, running
from penstock.model import Json, Reason, State, Task, TaskKind, TaskRun
from penstock.model import path as paths
from penstock.planner.expressions import abridged, explain
from penstock.planner.inputs import LEGACY_SCHEMA
from penstock.planner.ledger import Ledger
from penstock.planner.settle import CONTAINERS
from penstock.planner.verdict import Wait, verdict
from penstock.store import AttemptRecord, RunRecord, Store


def why(store: Store, run_id: str, path: str) -> str:
    """Why the task at `path` is as it is. Raises NotFoundError for a path outside the run's pipeline."""
    session = open_session(store, run_id)
    record = session.ledger.get(path)
    if record is None:
        if not _is_task(session.ledger, path):
            raise NotFoundError(f"pipeline '{session.pipeline.name}' has no task '{path}'")
        return _without_record(store, session, path)
    place = session.ledger.place(path)
    if place.task is None:
        return f"the run is {record.state.value}" + (f": {record.error}" if record.error else "")
    match record.state:
        case State.SUCCEEDED:
            return _succeeded(store, session, record)
        case State.SKIPPED:
            return _skipped(session, record, place.task)
        case State.FAILED:
            return _failed(store, session, record)
        case State.CANCELED:
            return f"task '{path}' was canceled with the run"
        case State.PENDING if record.retry_at is not None and record.reason is Reason.LOST:
            return f"task '{path}' waits until it is tried again, as its attempts are lost: {record.error}"
        case State.PENDING if record.retry_at is not None:
            return f"task '{path}' waits for retry {record.retries} after this failure: {record.error}"
        case State.RUNNING if record.kind not in CONTAINERS:
            return running(store, session, path)
        case _:
            return f"task '{path}' is {record.state.value}"


def _is_task(ledger: Ledger, path: str) -> bool:
    """Whether a run could have a record there: what stands in a loop stands in one of its iterations."""
    steps = path.split("/")
    try:
        for depth, step in enumerate(steps, 1):
            task = ledger.place("/".join(steps[:depth])).task
            loops = task is not None and task.loop is not None
            if loops != step.endswith("]") and not (loops and depth == len(steps)):
                return False
    except KeyError:
        return False
    return True


def _without_record(store: Store, session: Session, path: str) -> str:
    for above in paths.ancestors(path):
        found = session.ledger.get(above)
        if found is None:
            continue
        if found.state.ended:
            return f"task '{path}' never came up: {_around(session, found)}"
        if above != paths.container(path):
            return f"task '{path}' is not reached yet: the tasks around it have not started"
        break
    else:
        return not_begun(store, session, path)
    answer = verdict(session.ledger, path)
    if isinstance(answer, Wait):
        return f"task '{path}' waits for {', '.join(answer.on)}"
    return ready(store, session, path)


def _around(session: Session, record: TaskRun) -> str:
    """What became of the run, loop or DAG that an unrecorded task would have been in."""
    task = session.ledger.place(record.path).task
    if task is not None and record.state is State.SKIPPED:
        return _skipped(session, record, task)
    name = f"'{record.path}'" if record.path else "the run"
    return f"{name} ended {record.state.value} around it"


def _skipped(session: Session, record: TaskRun, task: Task) -> str:
    if record.reason is Reason.CONDITION:
        legacy = session.pipeline.schema_version == LEGACY_SCHEMA
        text = abridged(explain(task.trigger.condition, record.inputs.parameters, legacy=legacy))
        return f"task '{record.path}' was skipped: {text}"
    if record.reason is Reason.FAIL_FAST:
        return f"task '{record.path}' was skipped because another task had failed (fail fast)"
    cause = _blocker(session, record)
    if cause is None:
        return f"task '{record.path}' was skipped"
    direct, through = cause, ""
    while (above := _blocker(session, cause)) is not None:
        cause = above
    if cause is not direct:
        through = f" (by way of '{direct.path}')"
    place = session.ledger.place(cause.path)
    if cause.reason is Reason.CONDITION and place.task is not None:
        return f"task '{record.path}' was skipped{through}: {_skipped(session, cause, place.task)}"
    error = f": {cause.error}" if cause.error else ""
    return (
        f"task '{record.path}' was skipped because '{cause.path}' ended {cause.state.value}{through}{error}"
    )


def _blocker(session: Session, record: TaskRun) -> TaskRun | None:
    """The upstream task for which a task was skipped: one that failed, else one that did not run itself."""
    if record.state is not State.SKIPPED or record.reason not in (
        Reason.UPSTREAM_FAILED,
        Reason.UPSTREAM_SKIPPED,
    ):
        return None
    task = session.ledger.place(record.path).task
    parent = paths.split(record.path)[0]
    found = [session.ledger.get(paths.child(parent, name)) for name in (task.upstream if task else ())]
    for state in (State.FAILED, State.SKIPPED, State.CANCELED):
        for one in found:
            if one is not None and one.state is state:
                return one
    return None


def _failed(store: Store, session: Session, record: TaskRun) -> str:
    if record.kind in CONTAINERS:
        return f"'{record.path}' failed: {record.error}"
    attempts = store.attempts.list(session.run.id, record.path)
    times = f" after {len(attempts)} attempts" if len(attempts) > 1 else ""
    return f"task '{record.path}' failed{times}: {record.error}"


def _succeeded(store: Store, session: Session, record: TaskRun) -> str:
    if record.cached:
        executions = store.executions.list(session.run.id, record.path)
        source = next(
            (one.cached_execution_id for one in reversed(executions) if one.cached_execution_id), None
        )
        if source is None:
            return f"task '{record.path}' was served from the cache"
        origin = store.executions.get(source)
        run = _named(store.runs.get(origin.run_id))
        return f"task '{record.path}' was served from the cache: {run} had done the same work"
    if record.kind in CONTAINERS or record.kind is TaskKind.IMPORTER:
        return f"'{record.path}' succeeded"
    left = f", but {record.error}" if record.error else ""
    return f"task '{record.path}' ran and succeeded{left}; {_not_cached(store, session, record)}"


def _not_cached(store: Store, session: Session, record: TaskRun) -> str:
    """Which part of the cache key is new, against the latest earlier run that did this task."""
    task = session.ledger.place(record.path).task
    assert task is not None
    if not task.caching.enabled:
        return "its caching is switched off in the pipeline"
    if not session.options.cache:
        return "the run was started with the cache switched off"
    if _was_cleared(store, session, record):
        return "it was asked to run again, which passes the cache over"
    for run in store.runs.list(
        session.run.namespace, pipeline=session.run.pipeline, before=session.run.id, limit=50
    ):
        former = store.tasks.find(run.id, record.path)
        if former is None or former.state is not State.SUCCEEDED:
            continue
        changed = _changes(former, record)
        if former.fingerprint == record.fingerprint:
            return f"the artifacts of the same work in {_named(run)} could not be read any more"
        if changed:
            return f"it was not cached because {changed} since {_named(run)}"
        other = open_session(store, run.id)
        ours, theirs = session.ledger.place(record.path).component, other.ledger.place(record.path).component
        if session.pipeline.executor_of(ours) != other.pipeline.executor_of(theirs):
            what = "its image, command, arguments or environment"
            return f"it was not cached because {what} changed since {_named(run)}"
        before = _isolation(store.attempts.list(run.id, record.path))
        now = _isolation(store.attempts.list(session.run.id, record.path))
        if before != now:
            return f"it was not cached because it ran under {now}, and under {before} in {_named(run)}"
        what = "its declared outputs, the secrets it is given, or the artifact store"
        return f"it was not cached because {what} changed since {_named(run)}"
    return "it was not cached because no earlier run had done this task"


def _was_cleared(store: Store, session: Session, record: TaskRun) -> bool:
    """Whether the task itself, or a DAG around it, was named to run again."""
    around = {record.path, *paths.ancestors(record.path)}
    return any(
        change.reason is Reason.REOPENED and change.generation == record.generation and change.path in around
        for change in store.tasks.history(session.run.id)
    )


def _named(run: RunRecord) -> str:
    return f"run '{run.name}' ({run.id[-8:]})"


def _changes(former: TaskRun, record: TaskRun) -> str:
    before, now = former.inputs.parameters, record.inputs.parameters
    for name in {**before, **now}:
        if before.get(name) != now.get(name):
            return f"input '{name}' changed from {_shown(before, name)} to {_shown(now, name)}"
    for name in {**former.inputs.artifacts, **record.inputs.artifacts}:
        was, is_now = (many.get(name, ()) for many in (former.inputs.artifacts, record.inputs.artifacts))
        if [one.id for one in was] == [one.id for one in is_now]:
            continue
        content = [[(one.uri, one.sha256) for one in many if one.sha256] for many in (was, is_now)]
        if content[0] != content[1] and [one.uri for one in was] == [one.uri for one in is_now]:
            return f"the content of input artifact '{name}' changed"
        return f"input artifact '{name}' was made anew"
    return ""


def _isolation(attempts: list[AttemptRecord]) -> str:
    return attempts[-1].isolation if attempts else ""


def _shown(values: Mapping[str, Json], name: str) -> str:
    if name not in values:
        return "nothing"
    text = json.dumps(values[name], ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
