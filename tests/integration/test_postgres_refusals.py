"""A PostgreSQL that cannot be used: one clear sentence, and never the password."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from penstock.cli import run_cli
from penstock.errors import InvalidInputError, PenstockError, StoreAwayError, StoreError
from penstock.store import Store, upkeep
from tests.documents import Shell, pipeline, write
from tests.integration.penstock_process import Answer, Command
from tests.postgres_server import PostgresServer, private_postgres

PASSWORD = "hush-hush"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Asks everybody but its owner for a password."""
    with private_postgres() as running:
        running.execute(
            f"CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'",
            f"CREATE ROLE alone LOGIN PASSWORD '{PASSWORD}' CONNECTION LIMIT 1",
            f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'",
            "ALTER ROLE reader SET default_transaction_read_only = on",
            f"CREATE ROLE outsider LOGIN PASSWORD '{PASSWORD}'",
            "CREATE ROLE sleeper NOLOGIN",
            "CREATE DATABASE private",
            "REVOKE CONNECT ON DATABASE private FROM PUBLIC",
            "CREATE DATABASE latin ENCODING LATIN1 LOCALE 'C' TEMPLATE template0",
            "CREATE DATABASE other",
            "CREATE DATABASE bare",
        )
        running.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO app, reader, alone", database="penstock")
        running.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", database="bare")
        running.execute("CREATE TABLE bookmarks (url TEXT)", database="other")
        running.allow("host all postgres 127.0.0.1/32 trust", "host all all 127.0.0.1/32 scram-sha-256")
        yield running


def sentence(url: str) -> tuple[type[PenstockError], str]:
    with pytest.raises(PenstockError) as caught:
        Store.open(url)
    text = str(caught.value)
    assert "\n" not in text and PASSWORD not in text
    return type(caught.value), text


@pytest.mark.service("servers")
class TestConnecting:
    @pytest.mark.parametrize(
        ("database", "user", "password", "words"),
        [
            ("penstock", "app", "wrong", 'password authentication failed for user "app"'),
            ("penstock", "app", "", "no password supplied"),
            ("penstock", "nobody", PASSWORD, 'password authentication failed for user "nobody"'),
            ("penstock", "sleeper", PASSWORD, "sleeper"),
            ("private", "app", PASSWORD, 'permission denied for database "private"'),
        ],
    )
    def test_a_user_that_may_not(
        self, server: PostgresServer, database: str, user: str, password: str, words: str
    ) -> None:
        kind, text = sentence(server.url_of(database, user, password))
        assert kind is InvalidInputError
        assert (
            "refuses the user or the password (" in text and words in text and "PENSTOCK_DATABASE_URL" in text
        )

    def test_a_database_that_is_not_there(self, server: PostgresServer) -> None:
        kind, text = sentence(server.url_of("nowhere", "app", PASSWORD))
        assert kind is InvalidInputError
        assert "there is no such database: postgresql://app@127.0.0.1:" in text
        assert '(database "nowhere" does not exist); make it with createdb' in text

    def test_no_connection_is_left(self, server: PostgresServer) -> None:
        url = server.url_of("penstock", "alone", PASSWORD)
        with psycopg.connect(url):
            kind, text = sentence(url)
        assert kind is StoreAwayError
        assert "has no connection left (too many connections for role" in text and "max_connections" in text

    def test_encryption_that_the_server_does_not_have(self, server: PostgresServer) -> None:
        kind, text = sentence(server.url_of("penstock", "app", PASSWORD) + "?sslmode=require")
        assert kind is InvalidInputError and "does not support SSL" in text

    def test_the_right_password_is_enough(self, server: PostgresServer) -> None:
        with Store.open(server.url_of("penstock", "app", PASSWORD)) as store:
            store.namespaces.ensure("app")
            assert PASSWORD not in store.place


@pytest.mark.service("servers")
class TestWriting:
    def test_a_user_that_may_only_look(self, server: PostgresServer) -> None:
        with (
            Store.open(server.url_of("penstock", "reader", PASSWORD)) as store,
            pytest.raises(
                StoreError, match=r"is read-only \(cannot execute .* read-only transaction\); name"
            ),
        ):
            store.namespaces.ensure("new")

    def test_a_user_without_rights(self, server: PostgresServer) -> None:
        kind, text = sentence(server.url_of("penstock", "outsider", PASSWORD))
        assert kind is InvalidInputError
        assert (
            "may not do this (permission denied for table alembic_version); have its owner GRANT it" in text
        )

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            (
                "53100",
                r"the disk of the database server is full \(postgresql://.*; make room and resume the run",
            ),
            ("53200", r"the memory of the database server is full"),
            (
                "54000",
                r"this is too large for the database .*; names, paths and URIs end at about 2,700 bytes",
            ),
            (
                "55P03",
                r"another process has held what this one needs .* for 30 s; see which penstock process",
            ),
            ("42501", r"may not do this \(as it says\); have its owner GRANT it"),
            ("22000", r"the database postgresql://\S+ reports: as it says$"),
        ],
    )
    def test_what_the_server_reports_is_explained(
        self, server: PostgresServer, code: str, words: str
    ) -> None:
        """The server itself raises it, as it would do for a full disk."""
        server.execute(
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION 'as it says' USING ERRCODE = '{code}'; END $$",
            "CREATE OR REPLACE TRIGGER refuse BEFORE INSERT ON outbox EXECUTE FUNCTION refuse()",
            database="penstock",
        )
        try:
            with Store.open(server.url) as store, pytest.raises(PenstockError, match=words):
                store.outbox.add("t", "k", {})
        finally:
            server.execute("DROP TRIGGER refuse ON outbox", database="penstock")

    @pytest.mark.parametrize("code", ["40001", "40P01"])
    def test_what_the_server_asks_to_be_repeated_is_repeated(self, server: PostgresServer, code: str) -> None:
        server.execute(
            "CREATE SEQUENCE tries",
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF nextval('tries') < 4 THEN RAISE EXCEPTION 'again' USING ERRCODE = '{code}'; END IF;"
            " RETURN NEW; END $$",
            "CREATE OR REPLACE TRIGGER refuse BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION refuse()",
            database="penstock",
        )
        try:
            with Store.open(server.url) as store:
                assert store.repeat(lambda: store.outbox.add("t", code, {}))
                assert not store.outbox.add("t", code, {})
        finally:
            server.execute("DROP TRIGGER refuse ON outbox", "DROP SEQUENCE tries", database="penstock")

    def test_a_name_that_is_too_long_for_an_index(self, server: PostgresServer) -> None:
        name = "".join(chr(0x4E00 + number * 7919 % 20000) for number in range(3000))
        with (
            Store.open(server.url) as store,
            pytest.raises(StoreError, match="this is too large for the database"),
        ):
            store.namespaces.ensure(name)


@pytest.mark.service("servers")
class TestTheCommand:
    def test_a_wrong_password(self, server: PostgresServer, penstock: Command, tmp_path: Path) -> None:
        document = write(pipeline("one", Shell("one")), tmp_path / "one.yaml")
        url = server.url_of("penstock", "app", "wr0ng")

        complaint = penstock("run", document, PENSTOCK_DATABASE_URL=url).complaint

        assert "refuses the user or the password" in complaint and "wr0ng" not in complaint
        assert not penstock.home.exists()

    def test_a_server_that_is_not_there(self, penstock: Command, tmp_path: Path) -> None:
        document = write(pipeline("one", Shell("one")), tmp_path / "one.yaml")

        answer = penstock("run", document, PENSTOCK_DATABASE_URL=f"postgresql://u:{PASSWORD}@127.0.0.1:1/d")

        assert (answer.code, answer.out) == (1, "")
        assert "cannot be reached (Connection refused)" in answer.err and answer.err.count("\n") == 1
        assert PASSWORD not in answer.err and not penstock.home.exists()

    def test_a_schema_is_made_checked_and_asked_for(self, server: PostgresServer, penstock: Command) -> None:
        server.execute("CREATE DATABASE fresh")
        url = server.url_of("fresh")

        def call(*arguments: str) -> Answer:
            return penstock(*arguments, PENSTOCK_DATABASE_URL=url)

        assert "has no tables of penstock's; run `penstock db upgrade`" in call("runs", "list").complaint
        missing = call("db", "check")
        assert (missing.code, missing.out) == (1, "") and "run `penstock db upgrade`" in missing.err
        assert call("db", "upgrade").out == f"{url}: made, with schema {upkeep.Health('').needed}\n"
        assert "is up to date" in call("db", "upgrade").out
        found = call("db", "check")
        assert (found.code, found.err) == (0, "") and found.out.endswith(", up to date\n")
        assert call("runs", "list").code == 0

        server.execute("UPDATE alembic_version SET version_num = '9999'", database="fresh")
        for command in (["runs", "list"], ["db", "upgrade"]):
            assert "written by a newer penstock (schema 9999" in call(*command).complaint
        newer = call("db", "check", "--json")
        assert newer.code == 1
        told = json.loads(newer.out)
        assert (told["usable"], told["schema"]) == (False, "9999") and "upgrade penstock" in told["problem"]

    @pytest.mark.parametrize(
        ("database", "user", "words"),
        [
            ("latin", "postgres", "has the encoding LATIN1; make one with ENCODING 'UTF8'"),
            ("other", "postgres", "belongs to another program (it has a table 'bookmarks')"),
            ("penstock", "reader", None),
            ("bare", "outsider", "(permission denied for schema public); have its owner GRANT it"),
        ],
    )
    def test_an_upgrade_that_cannot_be(
        self, server: PostgresServer, penstock: Command, database: str, user: str, words: str | None
    ) -> None:
        password = "" if user == "postgres" else PASSWORD
        answer = penstock("db", "upgrade", PENSTOCK_DATABASE_URL=server.url_of(database, user, password))
        if words is None:
            assert (answer.code, answer.err) == (0, "")
        else:
            assert answer.code in (1, 2) and words in answer.err and answer.err.count("\n") == 1

    def test_of_upgrades_at_once_one_makes_the_tables(
        self, server: PostgresServer, penstock: Command
    ) -> None:
        server.execute("CREATE DATABASE contended")
        url = server.url_of("contended")
        with ThreadPoolExecutor(4) as threads:
            calls = [threads.submit(penstock, "db", "upgrade", PENSTOCK_DATABASE_URL=url) for _ in range(4)]
            answers = [call.result() for call in calls]
        assert [answer.err for answer in answers] == [""] * 4
        assert sorted(": made, " in answer.out for answer in answers) == [False, False, False, True]

    def test_a_check_tells_a_user_that_may_not_write(self, server: PostgresServer, penstock: Command) -> None:
        url = server.url_of("penstock", "reader", PASSWORD)
        answer = penstock("db", "check", PENSTOCK_DATABASE_URL=url)
        assert (answer.code, answer.out) == (1, "") and "is read-only for this user" in answer.err

    def test_the_password_is_masked_in_the_settings(self, penstock: Command) -> None:
        url = f"postgresql://app:{PASSWORD}@db.example:5433/penstock?sslmode=require"
        for arguments in (["config"], ["config", "--json"]):
            answer = penstock(*arguments, PENSTOCK_DATABASE_URL=url)
            assert answer.code == 0 and PASSWORD not in answer.out
            assert "postgresql://app:***@db.example:5433/penstock?sslmode=require" in answer.out


@pytest.mark.service("postgres")
class TestClocks:
    def test_a_check_warns_of_clocks_that_differ(
        self,
        postgres_url: str,
        home: Path,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        handler = signal.getsignal(signal.SIGTERM)
        monkeypatch.setenv("PENSTOCK_DATABASE_URL", postgres_url)
        found = upkeep.examine(postgres_url, clock=lambda: time.time() - 10)
        assert 9 < found.skew < 11 and "clock is 10 s behind the database's" in found.warning
        assert found.problem == "" and upkeep.examine(postgres_url).warning == ""
        monkeypatch.setattr(upkeep, "examine", lambda url: found)

        assert run_cli(["db", "check"]) == 0

        signal.signal(signal.SIGTERM, handler)
        out, err = capfd.readouterr()
        assert out.endswith("up to date\n")
        assert err.startswith("warning: this machine's clock is 10 s behind") and err.count("\n") == 1

    def test_the_store_knows_how_far_a_clock_is_off(self, postgres_url: str) -> None:
        with Store.open(postgres_url) as store:
            assert store.skew_warning() == ""
            assert "is 60 s ahead of the database's" in store.skew_warning(lambda: time.time() + 60)
