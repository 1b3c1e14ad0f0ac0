"""A run's head: the small row that whoever changes the run, its tasks or its attempts locks first.

So the writers of a run queue: each sees what the one before it wrote, and they never wait for each other
in a circle. Who is about to refer to another run holds its head FOR KEY SHARE: that run is not removed
meanwhile, and its own writers do not wait.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import sqlalchemy as sa

from penstock.errors import LeaseError, NotFoundError
from penstock.store.schema import attempts, run_heads, runs

_h = run_heads.c
_SELECT = (
    sa.select(_h.revision, _h.generation, _h.token, _h.owner, runs.c.namespace)
    .join(runs, runs.c.id == _h.run_id)
    .where(_h.run_id == sa.bindparam("run"))
    .with_for_update(of=run_heads, key_share=True)
)
_SELECT_BY_ATTEMPT = (
    sa.select(_h.revision, _h.generation, _h.token, _h.owner, runs.c.namespace, _h.run_id)
    .join(attempts, attempts.c.run_id == _h.run_id)
    .join(runs, runs.c.id == _h.run_id)
    .where(attempts.c.id == sa.bindparam("attempt"))
    .with_for_update(of=run_heads, key_share=True)
)
_ADVANCE = sa.update(run_heads).where(_h.run_id == sa.bindparam("run"))


@dataclass(frozen=True, slots=True)
class Head:
    revision: int
    generation: int
    token: int
    owner: str | None
    namespace: str


_locked: WeakKeyDictionary[sa.Connection, dict[str, Head]] = WeakKeyDictionary()
"""What an open transaction has locked, by run: nobody else changes it meanwhile."""


def lock(connection: sa.Connection, run_id: str, token: int | None) -> Head:
    """Lock the run until the transaction ends.

    Raises LeaseError when another engine than the holder of `token` has the run, NotFoundError without run.
    """
    head = _locked.get(connection, {}).get(run_id)
    if head is None:
        row = connection.execute(_SELECT, {"run": run_id}).one_or_none()
        if row is None:
            raise NotFoundError(f"run {run_id} is not recorded")
        head = _keep(connection, run_id, Head(*row))
    if token is not None and token != head.token:
        by = f"taken over by {head.owner}" if head.owner else "handed back or taken over meanwhile"
        raise LeaseError(f"run {run_id} was {by}; this engine must stop driving it")
    return head


def lock_by_attempt(connection: sa.Connection, attempt_id: str) -> None:
    """Lock the run of the attempt until the transaction ends. Raises NotFoundError without attempt."""
    row = connection.execute(_SELECT_BY_ATTEMPT, {"attempt": attempt_id}).one_or_none()
    if row is None:
        raise NotFoundError(f"attempt {attempt_id} is not recorded")
    _keep(connection, row[-1], Head(*row[:-1]))


def move(connection: sa.Connection, run_id: str, revision: int, generation: int) -> None:
    """Set both counters of a locked head."""
    connection.execute(_ADVANCE, {"run": run_id, "revision": revision, "generation": generation})
    head = _locked.get(connection, {}).get(run_id)
    if head is not None:
        _keep(connection, run_id, replace(head, revision=revision, generation=generation))


def locked(connection: sa.Connection, run_id: str) -> Head | None:
    """The head if the open transaction has locked it."""
    return _locked.get(connection, {}).get(run_id)


def forget(connection: sa.Connection, run_id: str) -> None:
    """The open transaction changes the head in another way; it is read anew when it is asked for."""
    _locked.get(connection, {}).pop(run_id, None)


def _keep(connection: sa.Connection, run_id: str, head: Head) -> Head:
    _locked.setdefault(connection, {})[run_id] = head
    return head
