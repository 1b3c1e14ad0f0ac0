"""The schema's version: new databases are made at the present one, Alembic brings older ones up to it.

Alembic is imported only when there is something for it to do.
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


def current(connection: sa.Connection) -> str | None:
    """The version of the database, None for one without tables of ours."""
    if not sa.inspect(connection).has_table(schema_version.name):
        return None
    return connection.execute(_VERSION).scalar_one_or_none()


def bring_up_to_date(database: Database) -> None:
    """Raises InvalidInputError for the database of another program, or of a newer penstock."""
    with database.read() as connection:
        if current(connection) == HEAD:
            return
    with database.write() as connection:
        version = current(connection)
        if version == HEAD:
            return
        if version is None:
            _create(connection)
        else:
            upgrade(connection)


def upgrade(connection: sa.Connection, version: str = "head") -> None:
    """Bring a database up to `version` in the open transaction. Raises InvalidInputError for a newer one."""
    from alembic import command
    from alembic.util import CommandError

    present = current(connection)
    try:
        command.upgrade(_config(connection), version)
    except CommandError as error:
        raise InvalidInputError(
            f"the database was written by a newer penstock (schema {present}, this one knows {HEAD}); "
            "upgrade penstock"
        ) from error


def downgrade(connection: sa.Connection, version: str) -> None:
    """Take a database back to `version` (`base`: without tables) in the open transaction."""
    from alembic import command

    command.downgrade(_config(connection), version)


def _create(connection: sa.Connection) -> None:
    foreign = [name for name in sa.inspect(connection).get_table_names() if name != schema_version.name]
    if foreign:
        raise InvalidInputError(
            f"the database belongs to another program (it has a table '{foreign[0]}'); "
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
