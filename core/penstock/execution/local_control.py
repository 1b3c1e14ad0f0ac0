"""Control on the store of this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from penstock.errors import PenstockError, TaskError
from penstock.execution.cachekey import cache_key
from penstock.execution.control import Step
from penstock.execution.ends import after_attempt
from penstock.execution.failpoints import failpoint
from penstock.execution.launcher import Launcher
from penstock.execution.manifest import OutputManifest
from penstock.execution.reuse import reuse_imported
from penstock.execution.session import Session, open_session, root_values
from penstock.execution.tracker import Tracker
from penstock.model import ROOT, Pipeline, Reason, State, TaskKind, TaskRun, Values
from penstock.planner.following import following, resume
from penstock.planner.ledger import Ledger
from penstock.planner.settle import CONTAINERS, settle
from penstock.planner.verdict import Launch, Record, Settled, Wait, kind_of, verdict
from penstock.store import AttemptRecord, AttemptState, ExecutionState, Store

_KEPT_PIPELINES = 32


class _OvertakenError(PenstockError):
    """Somebody else changed the run since it was read: the question is asked again."""


class LocalControl:
    """Control on the store itself. Any number of them may ask about one run at once.

    `readable` says whether the artifacts of a cache hit can still be read. With `exclusive` the caller
    promises to be the only one who changes the run (an engine that holds its lease), and the ledger stays in
    memory between calls. `token`, once an engine has claimed the run, fences every write: after a take-over
    they raise LeaseError. `tracker` hears of each beginning. Not safe for use by several threads at once.
    """

    def __init__(
        self,
        store: Store,
        launcher: Launcher,
        readable: Callable[[Values], bool],
        owner: str,
        *,
        exclusive: bool = False,
        tracker: Tracker | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._launcher = launcher
        self._readable = readable
        self._owner = owner
        self.token: int | None = None
        self._exclusive = exclusive
        self._tracker = tracker
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._overdue: dict[str, str] = {}
        self._pipelines: dict[str, Pipeline] = {}
        self._inputs: dict[str, Values] = {}

    def session(self, run_id: str) -> Session:
        """The run with its ledger. Raises NotFoundError."""
        found = self._sessions.get(run_id) if self._exclusive else None
        if found is None:
            if len(self._pipelines) >= _KEPT_PIPELINES:
                self._pipelines.clear()
            found = self._store.repeat(lambda: open_session(self._store, run_id, self._pipelines))
            if run_id in self._overdue:
                found.ledger.overdue, found.ledger.canceled = self._overdue[run_id], True
            if self._exclusive:
                self._sessions[run_id] = found
        return found

    def record(self, run_id: str, path: str) -> TaskRun | None:
        """What is recorded of one task."""
        return self._store.repeat(lambda: self._store.tasks.find(run_id, path))

    def look(self, run_id: str) -> None:
        """Look at the input artifacts of a run that has not begun, for `begin`: reading them may take longer
        than a lease lasts.
        """
        session = self._store.repeat(lambda: open_session(self._store, run_id, self._pipelines))
        if session.ledger.get(ROOT) is None:
            self._inputs[run_id] = root_values(session.pipeline, session.run)

    def begin(self, run_id: str) -> Step:
        """Open the run's own DAG; for a run that is open already, say what is worth a verdict in it."""
        return self._ask(run_id, self._begin)

    def prepare(self, run_id: str, path: str) -> Step:
        return self._ask(run_id, lambda session: self._prepare(session, path))

    def publish(self, run_id: str, path: str, manifest: OutputManifest, *, retry: bool | None = None) -> Step:
        return self._ask(run_id, lambda session: self._publish(session, path, manifest, retry))

    def abandon(self, run_id: str, path: str, error: str) -> Step:
        """Record that nobody will run a leaf task that has not ended: it failed, if it was to run at all."""
        return self._ask(run_id, lambda session: self._abandon(session, path, error))

    def cancel(self, run_id: str) -> None:
        """From now on nothing new starts in the run. Idempotent; does not stop what runs."""
        self._store.repeat(lambda: self._cancel(run_id))
        if self._exclusive:
            self.session(run_id).ledger.canceled = True

    def give_up(self, run_id: str, reason: str) -> None:
        """As `cancel`, for a run that took too long, which is not recorded before its end."""
        self._overdue[run_id] = reason
        self.forget(run_id)

    def forget(self, run_id: str) -> None:
        """Drop what is held in memory of the run; the next question reads the store."""
        self._sessions.pop(run_id, None)

    def _ask(self, run_id: str, question: Callable[[Session], Step]) -> Step:
        """The answer, with those about the containers that follow from it."""
        answer, places = self._answer(run_id, question)
        changes, again, leaves = list(answer.changes), list(answer.again), dict[str, None]()
        todo = [answer.following]
        while todo:
            for path in todo.pop():
                if kind_of(places, path) not in CONTAINERS:
                    leaves[path] = None
                    continue
                step, _ = self._answer(run_id, partial(self._prepare, path=path))
                changes += step.changes
                again += step.again
                todo.append(step.following)
        return replace(answer, changes=tuple(changes), following=tuple(leaves), again=tuple(again))

    def _answer(self, run_id: str, question: Callable[[Session], Step]) -> tuple[Step, Ledger]:
        """From what is recorded, which comes with it; asked again when the record changed meanwhile,
        or the database went away.
        """

        def ask() -> tuple[Step, Ledger]:
            session = self.session(run_id)
            return question(session), session.ledger

        while True:
            try:
                return self._store.repeat(ask)
            except _OvertakenError:
                continue

    def _cancel(self, run_id: str) -> None:
        with self._store.transaction():
            self._store.runs.revision(run_id)  # nobody else changes the run from here on
            if self._store.runs.get(run_id).state is State.RUNNING:
                self._store.runs.transition(run_id, (State.RUNNING,), State.CANCELING, token=self.token)
            self._store.runs.request_cancel(run_id)

    def _begin(self, session: Session) -> Step:
        run_id, ledger = session.run.id, session.ledger
        inputs = self._inputs.pop(run_id, None)
        if inputs is None and ledger.get(ROOT) is None:
            inputs = root_values(session.pipeline, session.run)
        with self._transaction(session):
            if self._tracker is not None:
                self._tracker.begun(run_id)
            if inputs is not None and ledger.get(ROOT) is None:
                root = TaskRun(ROOT, TaskKind.ROOT, State.RUNNING, inputs=inputs, started_at=self._clock())
                return self._record(session, root)
            if self._store.runs.get(run_id).state is State.PENDING:
                self._store.runs.transition(run_id, (State.PENDING,), State.RUNNING, token=self.token)
        again = tuple(
            (record.path, record.retry_at)
            for record in ledger.records()
            if record.retry_at is not None and not record.state.ended
        )
        return Step(following=tuple(resume(ledger)), again=again)

    def _prepare(self, session: Session, path: str) -> Step:
        answer = verdict(session.ledger, path)
        match answer:
            case Wait(on):
                return Step(wait=on)
            case Settled(record):
                return self._settled(session, record)
            case Record(record):
                now = self._clock()
                ended_at = now if record.state.ended else None
                step = self._record(session, replace(record, started_at=now, ended_at=ended_at))
                failpoint("prepare.recorded")
                return step
            case Launch():
                return self._launch(session, answer)

    def _publish(self, session: Session, path: str, manifest: OutputManifest, retry: bool | None) -> Step:
        failpoint("publish.before")
        with self._transaction(session):
            attempt = self._store.attempts.get(manifest.attempt_id)
            if (attempt.run_id, attempt.path) != (session.run.id, path) or not self._finish(manifest):
                return Step()
            record = session.ledger.get(path)
            if record is None or record.state.ended or record.generation != attempt.generation:
                return Step()
            artifacts = reuse_imported(self._store, session, path, manifest.artifacts)
            outputs = Values(manifest.parameters, artifacts)
            ended = after_attempt(session.ledger, record, manifest, outputs, self._clock(), retry)
            if ended.state in (State.SUCCEEDED, State.FAILED):
                state = ExecutionState.COMPLETE if ended.state is State.SUCCEEDED else ExecutionState.FAILED
                self._execution(session, ended, state, attempt_id=manifest.attempt_id)
            step = self._record(session, ended)
            failpoint("publish.inside")
        failpoint("publish.after")
        if ended.state.ended:
            return step
        if ended.retry_at is not None:
            return replace(step, again=(*step.again, (path, ended.retry_at)))
        return replace(step, following=(*step.following, path))

    def _abandon(self, session: Session, path: str, error: str) -> Step:
        match verdict(session.ledger, path):
            case Wait(on):
                return Step(wait=on)
            case Record(record):
                return self._record(session, record)
            case Launch(inputs=inputs, generation=generation):
                former = session.ledger.get(path)
                new = TaskRun(path, kind_of(session.ledger, path), State.FAILED, generation=generation)
                record = replace(former or new, inputs=inputs)
            case Settled(record):
                if record is None or record.state.ended:
                    return Step()
        with self._transaction(session):
            for one in self._store.attempts.list(session.run.id, path):
                if one.state is AttemptState.RUNNING:
                    self._store.attempts.finish(one.id, AttemptState.LOST, error=error)
            ended = replace(record, state=State.FAILED, reason=Reason.LOST, error=error, retry_at=None)
            return self._record(session, replace(ended, ended_at=self._clock()))

    def _finish(self, manifest: OutputManifest) -> bool:
        """False when the attempt has ended before."""
        return self._store.attempts.finish(
            manifest.attempt_id,
            AttemptState(manifest.outcome.value),
            exit_code=manifest.exit_code,
            error=manifest.error,
            log=manifest.log,
            notes=manifest.notes,
            started_at=manifest.started_at,
            ended_at=manifest.ended_at,
        )

    def _settled(self, session: Session, record: TaskRun | None) -> Step:
        if record is None:
            return Step()
        if record.kind in CONTAINERS or record.state.ended:
            return Step(following=tuple(following(session.ledger, record.path)))
        attempts = self._store.attempts.list(session.run.id, record.path)
        live = (one for one in attempts if one.state is AttemptState.RUNNING)
        attempt = next((one for one in live if one.generation == record.generation), None)
        if attempt is None:
            lost = self._record(session, replace(record, state=State.PENDING, reason=Reason.LOST))
            return replace(lost, following=(*lost.following, record.path))
        return Step(order=session.order(record, attempt.id, attempt.number), adopted=True)

    def _launch(self, session: Session, launch: Launch) -> Step:
        former = session.ledger.get(launch.path)
        now = self._clock()
        if former is not None and former.retry_at is not None and former.retry_at > now:
            return Step(again=((launch.path, former.retry_at),))
        new = TaskRun(
            path=launch.path,
            kind=kind_of(session.ledger, launch.path),
            state=State.RUNNING,
            inputs=launch.inputs,
            generation=launch.generation,
            attempts=former.attempts if former else 0,
            retries=former.retries if former else 0,
            started_at=now,
        )
        try:
            platform = session.pipeline.executor_platform(launch.component)
            isolation = self._launcher.isolation(launch.executor, platform)
            new = replace(new, fingerprint=cache_key(session, launch, isolation))
        except TaskError as error:
            refused = replace(new, state=State.FAILED, reason=Reason.REFUSED, error=str(error), ended_at=now)
            return self._record(session, refused)
        if launch.cacheable and session.options.cache:
            hit = self._cached(session, new)
            if hit is not None:
                return hit
        with self._transaction(session):
            attempt = self._claim(session, new, isolation)
            new = replace(new, attempts=attempt.number)
            step = self._record(session, new)
        failpoint("prepare.claimed")
        return replace(step, order=session.order(new, attempt.id, attempt.number), adopted=attempt.adopted)

    def _claim(self, session: Session, new: TaskRun, isolation: str) -> AttemptRecord:
        """A live attempt is adopted, but not one of an earlier generation: that has nothing more to say."""
        while True:
            attempt = self._store.attempts.claim(
                session.run.id,
                new.path,
                new.generation,
                new.attempts + 1,
                owner=self._owner,
                launcher=self._launcher.name,
                isolation=isolation,
                token=self.token,
            )
            if attempt.generation == new.generation:
                return attempt
            text = "the task was reopened while this attempt ran"
            self._store.attempts.finish(attempt.id, AttemptState.CANCELED, error=text)

    def _cached(self, session: Session, new: TaskRun) -> Step | None:
        """The answer of the cache, if it has one.

        Only other runs answer: whether a task of this very run has ended already hangs on the interleaving,
        and what a task does must not (KFP takes any execution that is complete).
        """
        run = session.run
        for hit in self._store.cache.find(
            new.fingerprint, session.cache_scope, run.namespace, besides=run.id
        ):
            if not self._readable(hit.outputs):
                continue
            done = replace(
                new, state=State.SUCCEEDED, cached=True, outputs=hit.outputs, ended_at=self._clock()
            )
            with self._transaction(session):
                if not self._store.cache.hold(hit.execution_id):
                    continue  # its run is being removed
                self._execution(session, done, ExecutionState.CACHED, cached_execution=hit.execution_id)
                step = self._record(session, done)
            failpoint("prepare.cached")
            return step
        return None

    def _execution(
        self,
        session: Session,
        ended: TaskRun,
        state: ExecutionState,
        *,
        attempt_id: str | None = None,
        cached_execution: str | None = None,
    ) -> None:
        """Record the execution with its artifacts and lineage."""
        self._store.executions.record(
            session.run.id,
            ended.path,
            ended.generation,
            state,
            inputs=ended.inputs,
            outputs=ended.outputs,
            attempt_id=attempt_id,
            fingerprint=ended.fingerprint,
            cache_scope=session.cache_scope,
            cached_execution=cached_execution,
        )

    def _record(self, session: Session, record: TaskRun) -> Step:
        """Write one record and what settles because of it; say what is worth a verdict then."""
        ledger, tasks = session.ledger, self._store.tasks
        again: tuple[tuple[str, float], ...] = ()
        with self._transaction(session):
            ledger.apply(record)
            settlement = settle(ledger, record.path)
            ended_at = self._clock()
            changes = [record, *(replace(one, ended_at=ended_at) for one in settlement.ended)]
            restart = settlement.restart
            if restart is not None:
                due = ended_at + restart.delay
                reopened = replace(restart.record, retry_at=due if restart.delay else None)
                ledger.apply(reopened)
                tasks.record(session.run.id, changes, token=self.token)
                tasks.remove(session.run.id, restart.removed, token=self.token)
                tasks.record(session.run.id, [reopened], token=self.token)
                changes.append(reopened)
                again = ((reopened.path, due),)
            else:
                tasks.record(session.run.id, changes, token=self.token)
            self._record_run(session, changes)
        return Step(changes=tuple(changes), following=_following(session, changes, again), again=again)

    def _record_run(self, session: Session, changes: list[TaskRun]) -> None:
        """The run follows its own DAG."""
        for change in changes:
            if change.path != ROOT:
                continue
            expected = (State.RUNNING, State.CANCELING) if change.state.ended else (State.PENDING,)
            state = change.state if change.state is not State.SKIPPED else State.FAILED
            self._store.runs.transition(
                session.run.id, expected, state, error=change.error, outputs=change.outputs, token=self.token
            )

    @contextmanager
    def _transaction(self, session: Session) -> Generator[None]:
        """One commit; when it fails, the ledger in memory is no longer what is recorded, and goes."""
        try:
            with self._store.transaction():
                if not self._exclusive and self._store.runs.revision(session.run.id) != session.run.revision:
                    raise _OvertakenError(f"run {session.run.id} was changed meanwhile")
                yield
        except BaseException:
            self.forget(session.run.id)
            raise


def _following(
    session: Session, changes: list[TaskRun], again: tuple[tuple[str, float], ...]
) -> tuple[str, ...]:
    later = {path for path, _ in again}
    found: dict[str, None] = {}
    for change in changes:
        if change.path not in later:
            found.update(dict.fromkeys(following(session.ledger, change.path)))
    return tuple(found)
