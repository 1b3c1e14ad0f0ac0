"""Launches: attempts that go on without whoever started them, and what was seen of them since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from penstock.model import Json, JsonObject
from penstock.store.agenda import Agenda
from penstock.store.columns import dump, load_object, plain
from penstock.store.connection import Database
from penstock.store.dialect import insert_if_absent
from penstock.store.schema import attempts, launches
from penstock.store.transitions import AttemptState

_l = launches.c
_a = attempts.c
_ONE = _l.attempt_id == sa.bindparam("attempt")
_ALIVE = sa.select(_a.run_id).where(_a.id == sa.bindparam("attempt"), _a.state == AttemptState.RUNNING.value)
_STARTED = sa.update(launches).where(_ONE).values(started=True, waits_for="")
_WAITS = sa.update(launches).where(_ONE).values(waits_for=sa.bindparam("why"))
_SEEN = (
    sa.update(launches)
    .where(_ONE)
    .values(started=True, waits_for=sa.bindparam("why"), seen=sa.bindparam("what"))
)
_OPEN = (
    sa.select(_l.attempt_id, _a.path, _l.started, _l.waits_for, _l.seen)
    .join(attempts, _a.id == _l.attempt_id)
    .where(_l.run_id == sa.bindparam("run"), _a.state == AttemptState.RUNNING.value)
)
_STARTED_MANY = (
    sa.select(sa.func.count())
    .select_from(launches)
    .join(attempts, _a.id == _l.attempt_id)
    .where(_l.started, _a.state == AttemptState.RUNNING.value)
)
"""Who was overtaken, or is late, may have written of an attempt that was published meanwhile."""
_FORGET = sa.delete(launches).where(_ONE)


@dataclass(frozen=True, slots=True)
class LaunchRecord:
    """Of an attempt that is not published: whether it was `started`, what it waits for (a sentence, or
    empty), and what its watcher `saw` at its end.
    """

    attempt_id: str
    path: str
    started: bool
    waits_for: str
    saw: JsonObject | None


class Launches:
    def __init__(self, database: Database, agenda: Agenda) -> None:
        self._database = database
        self._agenda = agenda

    def started(self, run_id: str, attempt_ids: Iterable[str]) -> None:
        """The attempts are there, and will be seen."""
        self._write(run_id, [(one, _STARTED, {}) for one in attempt_ids], started=True)

    def waits(self, run_id: str, attempt_id: str, why: str) -> None:
        """The attempt cannot be started yet, for that reason."""
        self._write(run_id, [(attempt_id, _WAITS, {"why": plain(why)})], started=False)

    def sight(self, attempt_id: str, why: str, what: Mapping[str, Json] | None) -> bool:
        """A watcher saw that the attempt waits for something (empty: for nothing), or its end, which `what`
        tells of: that wakes its run. False for an attempt that has nothing more to say.
        """
        with self._database.write() as connection:
            run_id = connection.execute(_ALIVE, {"attempt": attempt_id}).scalar_one_or_none()
            if run_id is None:
                return False
            seen = "" if what is None else dump(what)
            told = {"why": plain(why), "what": seen}
            self._write(run_id, [(attempt_id, _SEEN, told)], started=True)
            if what is not None:
                self._agenda.wake(run_id)
            return True

    def open(self, run_id: str) -> list[LaunchRecord]:
        """Of all attempts of the run that are not published."""
        with self._database.read() as connection:
            rows = connection.execute(_OPEN, {"run": run_id}).all()
        return [
            LaunchRecord(attempt_id, path, bool(started), waits_for, load_object(seen) if seen else None)
            for attempt_id, path, started, waits_for, seen in rows
        ]

    def count(self) -> int:
        """How many attempts of all runs were started and are not published."""
        with self._database.read() as connection:
            return connection.execute(_STARTED_MANY).scalar_one()

    def forget(self, attempt_ids: Iterable[str]) -> None:
        """They were published."""
        given = [{"attempt": one} for one in attempt_ids]
        if given:
            with self._database.write() as connection:
                connection.execute(_FORGET, given)

    def _write(
        self, run_id: str, changes: list[tuple[str, sa.Update, dict[str, Any]]], *, started: bool
    ) -> None:
        if not changes:
            return
        with self._database.write() as connection:
            for attempt_id, change, told in changes:
                row: dict[str, Any] = {
                    "attempt_id": attempt_id,
                    "run_id": run_id,
                    "started": started,
                    "waits_for": told.get("why", ""),
                    "seen": told.get("what", ""),
                }
                if connection.execute(insert_if_absent(connection, launches), row).rowcount == 0:
                    connection.execute(change, {"attempt": attempt_id, **told})
