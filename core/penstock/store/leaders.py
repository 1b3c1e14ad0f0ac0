"""Leaders: which of several processes does what only one should do at a time."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.store.connection import Database
from penstock.store.dialect import SECONDS, database_clock, insert_if_absent
from penstock.store.schema import leaders

_d = leaders.c
_NAME = _d.name == sa.bindparam("post")
_UNTIL = database_clock() + sa.bindparam("seconds", type_=SECONDS)
_TAKE = (
    sa.update(leaders)
    .where(
        _NAME,
        sa.or_(_d.owner == sa.bindparam("candidate"), _d.expires_at <= database_clock()),
    )
    .values(owner=sa.bindparam("candidate"), expires_at=_UNTIL)
)
_HOLDER = sa.select(_d.owner).where(_NAME, _d.expires_at > database_clock())
_RESIGN = sa.update(leaders).where(_NAME, _d.owner == sa.bindparam("candidate")).values(expires_at=0.0)


class Leaders:
    """A post is held for some seconds, and longer by who asks again in time. Who lost one may not know it for
    a moment: what a leader does must bear being done twice.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, post: str, candidate: str, seconds: float) -> bool:
        """Whether `candidate` (names one process) holds the post for `seconds` from now."""
        row: dict[str, Any] = {"name": post, "owner": candidate, "expires_at": 0.0}
        given = {"post": post, "candidate": candidate, "seconds": seconds}
        with self._database.write() as connection:
            if connection.execute(_TAKE, given).rowcount == 1:
                return True
            if connection.execute(insert_if_absent(connection, leaders), row).rowcount == 0:
                return False
            return connection.execute(_TAKE, given).rowcount == 1

    def holder(self, post: str) -> str | None:
        with self._database.read() as connection:
            return connection.execute(_HOLDER, {"post": post}).scalar_one_or_none()

    def resign(self, post: str, candidate: str) -> None:
        with self._database.write() as connection:
            connection.execute(_RESIGN, {"post": post, "candidate": candidate})
