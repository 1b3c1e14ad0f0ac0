"""What MLflow has not been told yet, and telling it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from penstock.model import ROOT
from penstock.store import WaitingMessage
from penstock.tracking.claims import Claims, OvertakenError, revision_of, run_of
from penstock.tracking.entity import is_tracked
from penstock.tracking.recorder import Recorder
from penstock.tracking.server import DeletedError, Server
from penstock.tracking.transport import UnavailableError


class Outcome(StrEnum):
    """How it stands with a run, as a person reads it."""

    DELIVERED = "is recorded"
    SO_FAR = "is recorded as far as it went; it has not ended"
    REFUSED = "is recorded but for what MLflow refuses; `penstock tracking status` shows that"
    HELD = "is being recorded by another process, or was a moment ago"
    WAITING = "waits"


@dataclass(frozen=True, slots=True)
class Backlog:
    claims: Claims

    def runs(self, run_id: str | None = None) -> list[WaitingMessage]:
        """Those that are not delivered to their end, oldest first; or that one, if it is among them."""
        return self.claims.waiting(run_id)

    def count(self, waiting: WaitingMessage) -> int:
        """How many records of the run, its tasks' and its own, have changed since they were delivered."""
        tasks = self.claims.store.tasks
        run_id = run_of(waiting)
        changed = {change.path for change in tasks.history(run_id, revision_of(waiting))}
        return sum(
            1
            for task in tasks.load(run_id)
            if task.path in changed and (task.path == ROOT or is_tracked(task))
        )

    def deliver(
        self,
        server: Server,
        run_id: str,
        enough: Callable[[], bool] = lambda: False,
        *,
        from_start: bool = False,
    ) -> Outcome:
        """Record the run as it stands. Raises UnavailableError; what it said is kept with the run."""
        claim = self.claims.claim(run_id, from_start=from_start)
        if claim is None:
            return Outcome.HELD
        error = ""
        finished = False
        try:
            all_of_it = Recorder(self.claims.store, run_id).deliver(server, claim, enough)
            finished = all_of_it and claim.finish()
            if finished:
                return Outcome.REFUSED if claim.refused else Outcome.DELIVERED
            return Outcome.SO_FAR if all_of_it else Outcome.WAITING
        except UnavailableError as problem:
            error = str(problem)
            raise
        except OvertakenError:
            return Outcome.HELD
        finally:
            if not finished:
                claim.hand_back(error)

    def deliver_others(self, server: Server, enough: Callable[[], bool]) -> None:
        """Record runs that nobody else does, as long as there is time. Raises UnavailableError."""
        for run_id in list(self._free()):
            if enough():
                return
            try:
                self.deliver(server, run_id, enough)
            except DeletedError:
                continue

    def _free(self) -> Iterator[str]:
        for one in self.runs():
            if one.refused or one.held_seconds:
                continue
            run = self.claims.store.runs.get(run_of(one))
            if run.state.ended or run.revision > revision_of(one):
                yield run.id
