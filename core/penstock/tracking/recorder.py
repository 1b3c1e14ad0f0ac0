"""One run in MLflow: which MLflow runs are its own, and what goes into each.

MLflow makes a run at every request and lets nobody choose its id. So before one is made it is looked for by
our tags, and whoever does that holds the claim on the run (`claims`). If a request to make one was lost on
its way back, it is looked for again; should it have come to two all the same, one is deleted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Final

from penstock.execution.failpoints import failpoint
from penstock.model import ROOT, TaskRun
from penstock.store import Store
from penstock.tracking.claims import Claim
from penstock.tracking.entity import (
    Entity,
    Status,
    is_again,
    is_tracked,
    removed_entity,
    run_entity,
    task_entity,
)
from penstock.tracking.server import FoundRun, Server
from penstock.tracking.transport import RefusedError, UnavailableError

_QUICK_SECONDS: Final = 2.0
_PATIENT_SECONDS: Final = 60.0
_MANY: Final = 8
"""From so many tasks on it costs less to read all of the run at once."""


class Recorder:
    """Any thread may open tasks while one delivers. Raises NotFoundError."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self._run = store.runs.get(run_id)
        self._lock = threading.Lock()
        self._experiment = ""
        self._ids: dict[str, str] = {}
        self._deleted: frozenset[str] = frozenset()
        self._known = self._doubtful = False

    @property
    def experiment_name(self) -> str:
        return self._run.experiment or "Default"

    def known(self, path: str) -> tuple[str, str] | None:
        """Experiment and run in MLflow of a task (ROOT: of the run itself), as far as they are known yet."""
        found = self._ids.get(path)
        return (self._experiment, found) if found else None

    def open_task(self, server: Server, task: TaskRun) -> tuple[str, str]:
        """Experiment and run in MLflow of a task about to be launched.

        Raises UnavailableError and RefusedError.
        """
        with self._locked(_QUICK_SECONDS):
            found = self._ensure(server, task.path, lambda: task_entity(self._run, task))
        if is_again(task):
            server.set_status(found, Status.RUNNING)
        return self._experiment, found

    def deliver(self, server: Server, claim: Claim, enough: Callable[[], bool]) -> bool:
        """Record what has changed since the claim's revision, which moves on. False when `enough` ended it.

        Raises UnavailableError and OvertakenError.
        """
        with self._locked():
            try:
                self._locate(server)
            except RefusedError as error:
                claim.refuse(ROOT, str(error))
                claim.revision = self._store.runs.revision(self._run.id)
                return True
            if ROOT not in self._ids:
                claim.revision = 0  # that of another server, perhaps
        while last := self._last_changes(claim.revision):
            records = self._records(last)
            for path, revision in last.items():
                if enough():
                    return False
                try:
                    self._record(server, path, records.get(path))
                    claim.refused.pop(path, None)
                except RefusedError as error:
                    claim.refuse(path, str(error))
                failpoint("tracking.delivered")
                claim.revision = revision
                claim.keep()
        return True

    def _last_changes(self, after: int) -> dict[str, int]:
        """What has changed, in the order of the last change, with its revision."""
        found: dict[str, int] = {}
        for change in self._store.tasks.history(self._run.id, after):
            found.pop(change.path, None)
            found[change.path] = change.revision
        return found

    def _records(self, paths: Mapping[str, int]) -> dict[str, TaskRun]:
        tasks = self._store.tasks
        if len(paths) > _MANY:
            return {task.path: task for task in tasks.load(self._run.id)}
        return {path: task for path in paths if (task := tasks.find(self._run.id, path)) is not None}

    def _record(self, server: Server, path: str, task: TaskRun | None) -> None:
        if path == ROOT:
            self._record_run(server, task)
            return
        if task is None:
            entity = removed_entity(path)
        elif is_tracked(task):
            entity = task_entity(self._run, task)
        else:
            return
        with self._locked():
            if path not in self._ids and not entity.lasting:
                return
            mlflow_id = self._ensure(server, path, lambda: entity)
        self._fill(server, mlflow_id, entity, self._ids[ROOT])

    def _record_run(self, server: Server, root: TaskRun | None) -> None:
        self._run = self._store.runs.get(self._run.id)
        entity = run_entity(self._run, root)
        with self._locked():
            if self._doubtful and self._run.state.ended:
                self._known = False
                self._locate(server)
                self._doubtful = False
            mlflow_id = self._ensure(server, ROOT, lambda: entity)
        self._fill(server, mlflow_id, entity)

    def _fill(self, server: Server, mlflow_id: str, entity: Entity, parent: str = "") -> None:
        server.log(mlflow_id, entity, parent)
        if entity.status is not Status.RUNNING or entity.again:
            server.set_status(mlflow_id, entity.status, entity.ended_at)
        for model in entity.models:
            self._store.artifacts.pin(model.artifact_id, f"the registered model {model.name}")
            server.register(model, mlflow_id)

    def _ensure(self, server: Server, path: str, describe: Callable[[], Entity]) -> str:
        """The MLflow run of a task or, for ROOT, of the run itself; made unless it is there."""
        self._locate(server)
        if path in self._ids:
            return self._ids[path]
        if path in self._deleted:
            raise RefusedError("DELETED", "its MLflow run was deleted there; restore it to go on with it")
        parent = ""
        if path != ROOT:
            parent = self._ensure(server, ROOT, lambda: run_entity(self._run, None))
        try:
            made = server.create(self._experiment, describe(), parent)
        except UnavailableError:
            self._known, self._doubtful = False, True
            raise
        failpoint("tracking.created")
        self._ids[path] = made
        return made

    def _locate(self, server: Server) -> None:
        """Learn what is in MLflow already, once."""
        if self._known:
            return
        self._experiment = server.experiment(self.experiment_name)
        found: dict[str, list[FoundRun]] = {}
        for one in server.find(self._experiment, self._run.id):
            found.setdefault(one.path, []).append(one)
        deleted: set[str] = set()
        for path, several in found.items():
            there = [one for one in several if not one.deleted]
            if not there:
                deleted.add(path)
                continue
            mine = min(there, key=lambda one: (one.id != self._ids.get(path), -one.fullness, one.id))
            self._ids[path] = mine.id
            for one in there:
                if one is not mine:
                    server.delete(one.id)
        self._deleted = frozenset(deleted)
        self._known = True

    @contextmanager
    def _locked(self, patience: float = _PATIENT_SECONDS) -> Generator[None]:
        """Raises UnavailableError when another thread waits for MLflow all the while."""
        if not self._lock.acquire(timeout=patience):
            raise UnavailableError("MLflow takes too long")
        try:
            yield
        finally:
            self._lock.release()
