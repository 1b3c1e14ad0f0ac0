"""Looking after a database: bringing its schema up to date, and saying whether it can be used."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from penstock.errors import InvalidInputError, PenstockError
from penstock.store import migrations
from penstock.store.connection import Database, connect
from penstock.store.skew import skew, warning

_FITNESS = sa.text(
    "SELECT current_setting('transaction_read_only'), current_setting('server_encoding'),"
    " to_regclass('runs') IS NULL OR has_table_privilege('runs', 'INSERT, UPDATE, DELETE')"
)


@dataclass(frozen=True, slots=True)
class Health:
    """`problem` is why it cannot be used, empty if it can. `skew` is by how many seconds the database's clock
    is ahead of this machine's.
    """

    place: str
    server: str = ""
    version: str | None = None
    needed: str = migrations.HEAD
    skew: float = 0.0
    problem: str = ""

    @property
    def warning(self) -> str:
        return warning(self.skew)


def upgrade(url: str) -> tuple[str, str | None]:
    """Bring the schema up to date, or make it: the database's place, and the version that it had before.

    Any number of processes may do so at once. Raises InvalidInputError for the database of another program
    or of a newer penstock.
    """
    with closing(connect(url)) as database:
        place = database.backend.place
        if database.backend.served:
            with database.read() as connection:
                encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
            if encoding != "UTF8":
                raise InvalidInputError(
                    f"the database {place} has the encoding {encoding}; make one with ENCODING 'UTF8'"
                )
        return place, migrations.bring_up_to_date(database)


def examine(url: str, clock: Callable[[], float] = time.time) -> Health:
    """Whether the database can be used. Changes nothing. `clock` is this machine's."""
    file = Path(url.removeprefix("sqlite:///")).expanduser()
    if url.startswith("sqlite:///") and not file.exists():
        return Health(str(file), problem=f"there is no database '{file}' yet; `penstock db upgrade` makes it")
    try:
        with closing(connect(url)) as database:
            return _examined(database, clock)
    except PenstockError as error:
        return Health("", problem=str(error))


def _examined(database: Database, clock: Callable[[], float]) -> Health:
    place, served = database.backend.place, database.backend.served
    problem = ""
    with database.read() as connection:
        version = migrations.current(connection)
        kind = "PostgreSQL" if served else "SQLite"
        server = f"{kind} {'.'.join(map(str, connection.dialect.server_version_info or ()))}"
    if version != migrations.HEAD:
        problem = migrations.behind(place, version)
    elif served:
        with database.write(upkeep=True) as connection:
            read_only, encoding, granted = connection.execute(_FITNESS).one()
        if read_only == "on":
            problem = (
                f"the database {place} is read-only for this user (default_transaction_read_only); "
                "name the primary server in PENSTOCK_DATABASE_URL, and a user that may write"
            )
        elif encoding != "UTF8":
            problem = f"the database {place} has the encoding {encoding}; make one with ENCODING 'UTF8'"
        elif not granted:
            problem = f"the user of {place} may not write to its tables; have their owner GRANT it"
    return Health(place, server, version, skew=skew(database, clock), problem=problem)
