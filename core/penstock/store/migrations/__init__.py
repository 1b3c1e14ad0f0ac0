"""The schema's version: new files are made at the present one, Alembic brings older ones up to it.

A file of SQLite's is changed when it is opened. A server's database is changed on request only, since other
processes use it meanwhile. Alembic is imported only when there is something for it to do.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from penstock.errors import InvalidInputError
from penstock.store.connection import Database
from penstock.store.schema import metadata, schema_version

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0001"
"""The version that `schema` describes; the newest in `versions`."""

_VERSION = sa.select(schema_version.c.version_num)
_LOCK = sa.text("SELECT pg_advisory_xact_lock(hashtext('penstock'), hashtext('schema'))")


def current(connection: sa.Connection) -> str | None:
    """The version of the database, None for one without tables of ours."""
    if not sa.inspect(connection).has_table(schema_version.name):
        return None
    return connection.execute(_VERSION).scalar_one_or_none()


def prepare(database: Database) -> None:
    """See to it that the schema is the present one before the database is used.

    Raises InvalidInputError for the database of another program or of a newer penstock, and for a server's
    database that `penstock db upgrade` has to change first.
    """
    with database.read() as connection:
        version = current(connection)
    if version == HEAD:
        return
    if not database.backend.served:
        bring_up_to_date(database)
        return
    raise InvalidInputError(behind(database.backend.place, version))


def behind(place: str, version: str | None) -> str:
    """The sentence for a schema that is not the present one."""
    if version is None:
        return (
            f"the database {place} has no tables of penstock's; run `penstock db upgrade`, which makes them"
        )
    if is_newer(version):
        return newer(version)
    return f"the database {place} has schema {version}, this penstock needs {HEAD}; run `penstock db upgrade`"


def newer(version: str) -> str:
    return (
        f"the database was written by a newer penstock (schema {version}, this one knows {HEAD}); "
        "upgrade penstock"
    )


def is_newer(version: str) -> bool:
    """Whether this penstock does not know the version."""
    from alembic.script import ScriptDirectory

    known = ScriptDirectory(str(Path(__file__).parent)).walk_revisions()
    return version not in {script.revision for script in known}


def bring_up_to_date(database: Database) -> str | None:
    """The version that the database had, None for an empty one; now it has the present one.

    Any number of processes may do so at once. Raises InvalidInputError for the database of another program,
    or of a newer penstock.
    """
    with database.write(upkeep=True) as connection:
        if database.backend.served:
            connection.execute(_LOCK)
        version = current(connection)
        if version is None:
            _create(connection, database.backend.place)
        elif version != HEAD:
            upgrade(connection)
        return version


def upgrade(connection: sa.Connection, version: str = "head") -> None:
    """Bring a database up to `version` in the open transaction. Raises InvalidInputError for a newer one."""
    from alembic import command
    from alembic.util import CommandError

    present = current(connection)
    try:
        command.upgrade(_config(connection), version)
    except CommandError as error:
        raise InvalidInputError(newer(str(present))) from error


def downgrade(connection: sa.Connection, version: str) -> None:
    """Take a database back to `version` (`base`: without tables) in the open transaction."""
    from alembic import command

    command.downgrade(_config(connection), version)


def _create(connection: sa.Connection, place: str) -> None:
    foreign = [name for name in sa.inspect(connection).get_table_names() if name != schema_version.name]
    if foreign:
        raise InvalidInputError(
            f"the database {place} belongs to another program (it has a table '{foreign[0]}'); "
            "name another one in PENSTOCK_DATABASE_URL"
        )
    metadata.create_all(connection)
    connection.execute(sa.insert(schema_version), {"version_num": HEAD})


def _config(connection: sa.Connection) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
