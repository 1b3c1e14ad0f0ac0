"""Leases: which engine drives a run. Time is the database's, and every holder gets a higher fencing token."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.errors import LeaseError, NotFoundError
from penstock.store import heads
from penstock.store.connection import Database
from penstock.store.dialect import SECONDS, database_clock
from penstock.store.schema import run_heads

_h = run_heads.c
_RUN = _h.run_id == sa.bindparam("run")
_TOKEN = _h.token == sa.bindparam("held")
_UNTIL = database_clock() + sa.bindparam("seconds", type_=SECONDS)
_TAKE: dict[sa.Column[Any], sa.ColumnElement[Any]] = {
    _h.owner: sa.bindparam("new_owner", type_=sa.Text()),
    _h.expires_at: _UNTIL,
    _h.token: _h.token + 1,
}
_CLAIM = (
    sa.update(run_heads)
    .where(
        _RUN,
        sa.or_(_h.owner.is_(None), _h.owner == sa.bindparam("new_owner"), _h.expires_at < database_clock()),
    )
    .values(_TAKE)
)
_TAKEOVER = sa.update(run_heads).where(_RUN, _h.owner == sa.bindparam("former")).values(_TAKE)
_RENEW = sa.update(run_heads).where(_RUN, _TOKEN, _h.owner.is_not(None)).values({_h.expires_at: _UNTIL})
_RELEASE = sa.update(run_heads).where(_RUN, _TOKEN).values({_h.owner: None, _h.expires_at: None})
_HOLDER = sa.select(_h.owner, _h.token, (_h.expires_at - database_clock()).label("left")).where(_RUN)


class Leases:
    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, run_id: str, owner: str, seconds: float) -> int:
        """Take the run for `seconds`; the fencing token. `owner` names one process, also to people.

        A free run, an expired lease and one's own can be taken. Raises LeaseError while another holds it.
        """
        with self._database.write() as connection:
            heads.forget(connection, run_id)
            wanted = {"run": run_id, "new_owner": owner, "seconds": seconds}
            taken = connection.execute(_CLAIM, wanted).rowcount == 1
            holder, token, left = self._holder(connection, run_id)
            if not taken:
                raise LeaseError(
                    f"run {run_id} is driven by {holder}, whose lease ends in {max(left or 0.0, 0.0):.0f} s "
                    "unless it is renewed; wait for it, or stop that engine first"
                )
            return token

    def take_over(self, run_id: str, owner: str, seconds: float, *, former: str) -> int:
        """Take the run from an owner that the caller knows to be dead; the fencing token.

        Raises LeaseError when `former` does not hold it any more.
        """
        with self._database.write() as connection:
            heads.forget(connection, run_id)
            wanted = {"run": run_id, "new_owner": owner, "seconds": seconds, "former": former}
            taken = connection.execute(_TAKEOVER, wanted).rowcount == 1
            holder, token, _ = self._holder(connection, run_id)
            if not taken:
                held = f"driven by {holder}" if holder else "free"
                raise LeaseError(f"run {run_id} is not held by {former} any more: it is {held}; claim it")
            return token

    def renew(self, run_id: str, token: int, seconds: float) -> None:
        """Raises LeaseError when the run has been taken over or handed back since."""
        with self._database.write() as connection:
            heads.forget(connection, run_id)
            if connection.execute(_RENEW, {"run": run_id, "held": token, "seconds": seconds}).rowcount == 1:
                return
            holder, _, _ = self._holder(connection, run_id)
            raise LeaseError(
                f"run {run_id} is now {f'driven by {holder}' if holder else 'free'}; this engine lost it"
            )

    def release(self, run_id: str, token: int) -> bool:
        """Hand the run back. False when somebody else holds it by now."""
        with self._database.write() as connection:
            heads.forget(connection, run_id)
            return connection.execute(_RELEASE, {"run": run_id, "held": token}).rowcount == 1

    def holder(self, run_id: str) -> tuple[str, float] | None:
        """Who has the run, and for how many seconds yet: an expired lease has less than none.

        Raises NotFoundError.
        """
        with self._database.read() as connection:
            owner, _, left = self._holder(connection, run_id)
        return None if owner is None else (owner, left or 0.0)

    @staticmethod
    def _holder(connection: sa.Connection, run_id: str) -> tuple[str | None, int, float | None]:
        row = connection.execute(_HOLDER, {"run": run_id}).one_or_none()
        if row is None:
            raise NotFoundError(f"run {run_id} is not recorded")
        owner, token, left = row
        return owner, token, left
