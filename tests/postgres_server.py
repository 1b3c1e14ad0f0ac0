"""PostgreSQL servers that a test may stop, kill, and change the rules of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString, cast

import psycopg

from penstock.store import upkeep
from tests.own_server import OwnServer, own_folder


class PostgresServer(OwnServer):
    name = "postgres"
    variables = ("PG_PORT",)

    @property
    def data(self) -> Path:
        return self.state / "data"

    @property
    def url(self) -> str:
        return self.url_of("penstock")

    def url_of(self, database: str, user: str = "postgres", password: str = "") -> str:
        who = f"{user}:{password}" if password else user
        return f"postgresql://{who}@127.0.0.1:{self.port}/{database}"

    def execute(self, *statements: str, database: str = "postgres") -> None:
        with psycopg.connect(self.url_of(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(cast("LiteralString", statement))

    def allow(self, *rules: str) -> None:
        """Put lines before those of pg_hba.conf."""
        file = self.data / "pg_hba.conf"
        file.write_text("\n".join([*rules, file.read_text()]))
        self.execute("SELECT pg_reload_conf()")

    def _traces(self) -> Sequence[Path]:
        return [self.data / "postmaster.pid", *self.state.glob(".s.PGSQL.*")]


@contextmanager
def private_postgres() -> Iterator[PostgresServer]:
    """A new server with a database `penstock` that has the schema; gone afterwards. Needs `servers`."""
    with own_folder() as folder:
        server = PostgresServer(folder)
        try:
            server.start()
            server.execute("CREATE DATABASE penstock")
            upkeep.upgrade(server.url)
            yield server
        finally:
            server.stop()
