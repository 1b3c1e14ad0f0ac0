"""Attempts: handed out by compare-and-set, so that a task has at most one live launch, whoever asks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from penstock.errors import IllegalTransitionError, NotFoundError
from penstock.model import Json
from penstock.store import heads
from penstock.store.columns import dump, load_object, plain
from penstock.store.connection import Database
from penstock.store.dialect import insert_if_absent
from penstock.store.ids import new_id
from penstock.store.records import AttemptRecord
from penstock.store.schema import attempts
from penstock.store.transitions import AttemptState

_a = attempts.c
_COLUMNS = (
    _a.id,
    _a.run_id,
    _a.path,
    _a.generation,
    _a.number,
    _a.state,
    _a.owner,
    _a.launcher,
    _a.isolation,
    _a.started_at,
    _a.ended_at,
    _a.exit_code,
    _a.error,
    _a.log,
    _a.notes,
)
_NAMES = tuple(column.name for column in _COLUMNS)
_SELECT = sa.select(*_COLUMNS)
_ONE = _SELECT.where(_a.id == sa.bindparam("attempt"))
_LIVE = _SELECT.where(_a.run_id == sa.bindparam("run"), _a.state == AttemptState.RUNNING.value)
_LIVE_OF_TASK = _LIVE.where(_a.path == sa.bindparam("at"))
_OF_RUN = _SELECT.where(_a.run_id == sa.bindparam("run")).order_by(_a.started_at, _a.id)
_OF_TASK = _SELECT.where(_a.run_id == sa.bindparam("run"), _a.path == sa.bindparam("at")).order_by(
    _a.generation, _a.number
)
_CHANGE_LIVE = sa.update(attempts).where(
    _a.id == sa.bindparam("attempt"), _a.state == AttemptState.RUNNING.value
)


class Attempts:
    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(
        self,
        run_id: str,
        path: str,
        generation: int,
        number: int,
        *,
        owner: str,
        launcher: str = "",
        isolation: str = "",
        attempt_id: str | None = None,
        token: int | None = None,
    ) -> AttemptRecord:
        """The right to launch the task, or the live attempt that already has it (`adopted`).

        A live attempt may be of an earlier generation: stop it, finish it as CANCELED and claim again.
        Raises IllegalTransitionError when the very attempt has ended before, LeaseError for a former `token`.
        """
        row: dict[str, Any] = {
            "id": attempt_id or new_id(),
            "run_id": run_id,
            "path": path,
            "generation": generation,
            "number": number,
            "state": AttemptState.RUNNING.value,
            "owner": owner,
            "launcher": launcher,
            "isolation": isolation,
            "started_at": time.time(),
            "ended_at": None,
            "exit_code": None,
            "error": "",
            "log": "",
            "notes": "{}",
        }
        with self._database.write() as connection:
            heads.lock(connection, run_id, token)
            if connection.execute(insert_if_absent(connection, attempts), row).rowcount == 1:
                return _attempt([row[name] for name in _NAMES])
            live = connection.execute(_LIVE_OF_TASK, {"run": run_id, "at": path}).one_or_none()
            if live is not None:
                return replace(_attempt(live), adopted=True)
            raise IllegalTransitionError(
                f"attempt {number} of task '{path}' (generation {generation}) has ended "
                "and cannot be launched again"
            )

    def describe(self, attempt_id: str, *, log: str, notes: Mapping[str, Json] | None = None) -> bool:
        """Say where a live attempt's log is, so that others can follow it. False when it has ended."""
        changed = {"attempt": attempt_id, "log": plain(log), "notes": dump(notes or {})}
        with self._database.write() as connection:
            return connection.execute(_CHANGE_LIVE, changed).rowcount == 1

    def finish(
        self,
        attempt_id: str,
        state: AttemptState,
        *,
        exit_code: int | None = None,
        error: str = "",
        log: str = "",
        notes: Mapping[str, Json] | None = None,
        started_at: float | None = None,
        ended_at: float | None = None,
    ) -> bool:
        """End a live attempt. False, and nothing changed, when it has ended before. Raises NotFoundError."""
        if state is AttemptState.RUNNING:
            raise IllegalTransitionError(f"attempt {attempt_id} cannot be finished as RUNNING")
        changed: dict[str, Any] = {
            "attempt": attempt_id,
            "state": state.value,
            "ended_at": time.time() if ended_at is None else ended_at,
            "exit_code": exit_code,
            "error": plain(error),
            "log": plain(log),
            "notes": dump(notes or {}),
        }
        if started_at is not None:
            changed["started_at"] = started_at
        with self._database.write() as connection:
            heads.lock_by_attempt(connection, attempt_id)
            return connection.execute(_CHANGE_LIVE, changed).rowcount == 1

    def get(self, attempt_id: str) -> AttemptRecord:
        """Raises NotFoundError."""
        with self._database.read() as connection:
            row = connection.execute(_ONE, {"attempt": attempt_id}).one_or_none()
        if row is None:
            raise NotFoundError(f"attempt {attempt_id} is not recorded")
        return _attempt(row)

    def live(self, run_id: str) -> list[AttemptRecord]:
        """The attempts of the run that nobody has finished."""
        with self._database.read() as connection:
            return [_attempt(row) for row in connection.execute(_LIVE, {"run": run_id})]

    def list(self, run_id: str, path: str | None = None) -> list[AttemptRecord]:
        """The attempts of a run, or of one of its tasks, oldest first."""
        with self._database.read() as connection:
            if path is None:
                rows = connection.execute(_OF_RUN, {"run": run_id}).all()
            else:
                rows = connection.execute(_OF_TASK, {"run": run_id, "at": path}).all()
        return [_attempt(row) for row in rows]


def _attempt(row: Sequence[Any]) -> AttemptRecord:
    found = dict(zip(_NAMES, row, strict=True))
    found["state"] = AttemptState(found["state"])
    found["notes"] = load_object(found["notes"])
    return AttemptRecord(**found)
