"""Retrying a run: the records that go back, written in one transaction."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.errors import InvalidInputError, NotFoundError
from penstock.execution.session import open_session
from penstock.ir import resolve_arguments
from penstock.model import ROOT, Json
from penstock.planner.reopening import reopen
from penstock.store import Store


def reopen_run(store: Store, run_id: str, path: str, arguments: Mapping[str, Json]) -> None:
    """Make an ended run PENDING again: what failed, and with `path` that task and all that follows from it.

    `arguments` replace those of the run, for the tasks that run again. Raises InvalidInputError for a run
    that has not ended or has nothing to run again, NotFoundError for a path without a record.
    """
    store.repeat(lambda: _reopen(store, run_id, path, arguments))


def _reopen(store: Store, run_id: str, path: str, arguments: Mapping[str, Json]) -> None:
    with store.transaction():
        store.runs.revision(run_id)  # nobody else changes the run from here on
        session = open_session(store, run_id)
        if not session.run.state.ended:
            raise InvalidInputError(
                f"run {run_id} is {session.run.state.value}, only an ended run can be retried; "
                "`penstock runs resume` goes on with one whose engine died"
            )
        merged = None
        if arguments:
            merged = resolve_arguments(session.pipeline, {**session.ledger.arguments, **arguments})
        generation = max(store.runs.reopen(run_id), session.ledger.next_generation())
        try:
            found = reopen(session.ledger, generation, path, merged)
        except KeyError:
            raise NotFoundError(f"run {run_id} has no record of a task '{path}'") from None
        if ROOT not in found.changes:
            raise InvalidInputError(f"run {run_id} succeeded; name the task to run again with --from TASK")
        store.tasks.reopen(run_id, list(found.changes.values()), removed=list(found.removed))
