"""The agenda: runs that workers drive step by step, each with the time of its next step.

An entry is there from the submission of a run to its end, so a run is never forgotten, whatever becomes of
the messages that hurry its steps on. Time is the database's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from penstock.store.columns import plain
from penstock.store.connection import Database
from penstock.store.dialect import SECONDS, database_clock, insert_if_absent
from penstock.store.schema import agenda

_g = agenda.c
_RUN = _g.run_id == sa.bindparam("run")
_NOW = database_clock()
_AFTER = _NOW + sa.bindparam("seconds", type_=SECONDS)
_FIELDS = (
    _g.run_id,
    _g.engine,
    _g.queue,
    _g.priority,
    _g.failures,
    _g.error,
    (_NOW - _g.due_at).label("late"),
)
_ONE = sa.select(*_FIELDS).where(_RUN)
_DUE_AT = sa.select(_g.due_at).where(_RUN)
_LOCKED = _DUE_AT.with_for_update()
_SET = sa.update(agenda).where(_RUN).values(due_at=_AFTER)
_WAKE = sa.update(agenda).where(_RUN, _g.due_at > _NOW).values(due_at=_NOW)
_EXTEND = _SET.where(_g.due_at == sa.bindparam("mine", type_=SECONDS))
_SETTLE = _SET.values(failures=0, error="")
_FAIL = _SET.values(failures=_g.failures + 1, error=sa.bindparam("sentence"))
_LATE = (
    sa.select(*_FIELDS)
    .where(_g.engine == sa.bindparam("by"), _g.due_at <= _NOW - sa.bindparam("seconds", type_=SECONDS))
    .order_by(_g.due_at)
    .limit(sa.bindparam("many"))
)
_REMOVE = sa.delete(agenda).where(_RUN)


@dataclass(frozen=True, slots=True)
class Appointment:
    """A run on the agenda of the `engine`. `failures` in a row of its steps, with the last `error`.

    `queue` and `priority` say where messages about it go. Its step has been due for `late` seconds, or is in
    as many, where that is negative.
    """

    run_id: str
    engine: str
    queue: str
    priority: int
    failures: int = 0
    error: str = ""
    late: float = 0.0


class Agenda:
    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, run_id: str, engine: str, queue: str = "", priority: int = 0) -> None:
        """Put the run on the agenda, due now; one that is on it is due now."""
        row: dict[str, Any] = {
            "run_id": run_id,
            "engine": engine,
            "queue": queue,
            "priority": priority,
            "failures": 0,
            "error": "",
        }
        with self._database.write() as connection:
            new = insert_if_absent(connection, agenda).values(due_at=_NOW)
            if connection.execute(new, row).rowcount == 0:
                connection.execute(_WAKE, {"run": run_id})

    def get(self, run_id: str) -> Appointment | None:
        with self._database.read() as connection:
            row = connection.execute(_ONE, {"run": run_id}).one_or_none()
        return None if row is None else Appointment(*row)

    def wake(self, run_id: str) -> bool:
        """Have the run looked at now. False for one that is due already, or is not on the agenda."""
        with self._database.write() as connection:
            return connection.execute(_WAKE, {"run": run_id}).rowcount == 1

    def begin(self, run_id: str, seconds: float) -> float | None:
        """A step of the run begins, and takes less than `seconds`; what `settle` has to be told.

        None for a run that is not on the agenda.
        """
        with self._database.write() as connection:
            if connection.execute(_SET, {"run": run_id, "seconds": seconds}).rowcount == 0:
                return None
            return connection.execute(_DUE_AT, {"run": run_id}).scalar_one()

    def extend(self, run_id: str, mine: float, seconds: float) -> float:
        """The step takes `seconds` more; what `settle` has to be told now."""
        with self._database.write() as connection:
            given = {"run": run_id, "mine": mine, "seconds": seconds}
            if connection.execute(_EXTEND, given).rowcount == 0:
                return mine
            return connection.execute(_DUE_AT, {"run": run_id}).scalar_one()

    def settle(self, run_id: str, mine: float, seconds: float) -> bool:
        """The step is done, and the next is due in `seconds`.

        False, and nothing changed, when the run was woken since `begin`: there is more to do now.
        """
        with self._database.write() as connection:
            due = connection.execute(_LOCKED, {"run": run_id}).scalar_one_or_none()
            if due is not None and due < mine:
                return False
            connection.execute(_SETTLE, {"run": run_id, "seconds": seconds})
            return True

    def fail(self, run_id: str, error: str, seconds: float) -> None:
        """The step failed, and is to be tried again in `seconds`."""
        with self._database.write() as connection:
            connection.execute(_FAIL, {"run": run_id, "sentence": plain(error), "seconds": seconds})

    def late(self, engine: str, seconds: float, limit: int = 10_000) -> list[Appointment]:
        """Runs whose step has been due for `seconds`, longest first."""
        with self._database.read() as connection:
            rows = connection.execute(_LATE, {"by": engine, "seconds": seconds, "many": limit}).all()
        return [Appointment(*row) for row in rows]

    def remove(self, run_id: str) -> None:
        """The run has ended."""
        with self._database.write() as connection:
            connection.execute(_REMOVE, {"run": run_id})
