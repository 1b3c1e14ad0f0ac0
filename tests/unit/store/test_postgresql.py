"""PostgreSQL as far as no server is needed: URLs, and a driver or a server that is not there."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from penstock.errors import InvalidInputError, PenstockError, StoreAwayError
from penstock.store import Store, postgresql
from penstock.store.connection import connect


def refused(url: str, kind: type[PenstockError] = InvalidInputError) -> str:
    with pytest.raises(kind) as caught:
        Store.open(url)
    sentence = str(caught.value)
    assert "\n" not in sentence and "hush" not in sentence
    return sentence


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Nobody listens there, and nobody else can."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "postgres"])
def test_a_server_that_does_not_listen_is_named_without_the_password(scheme: str, closed_port: int) -> None:
    sentence = refused(f"{scheme}://user:hush@127.0.0.1:{closed_port}/db", StoreAwayError)
    assert sentence.startswith(
        f"the database postgresql://user@127.0.0.1:{closed_port}/db cannot be reached (Connection refused);"
    )


def test_a_host_that_nobody_knows_is_named() -> None:
    sentence = refused("postgresql://user:hush@no-such-host.invalid/db", StoreAwayError)
    assert "postgresql://user@no-such-host.invalid/db cannot be reached (" in sentence
    assert "no-such-host.invalid'" in sentence


def test_a_socket_that_is_not_there_is_named() -> None:
    sentence = refused("postgresql://user:hush@/db?host=/no/such/folder", StoreAwayError)
    assert "postgresql://user@/no/such/folder/db cannot be reached (No such file or directory)" in sentence


@pytest.mark.parametrize(
    "rest",
    ["user:hush@host:port/db", "user:hush@[::1/db", "user:hu/hush:@sh@host:x/db", "\x7f://user:hush@x:y"],
)
def test_what_is_no_url_is_refused_without_being_shown(rest: str) -> None:
    assert "write postgresql://user:password@host:port/database" in refused(f"postgresql://{rest}")


@pytest.mark.parametrize(
    ("options", "words"),
    [("surely_no_option=1", 'invalid connection option "surely_no_option"'), ("sslmode=perhaps", "sslmode")],
)
def test_an_option_of_the_url_that_nobody_knows_is_named(options: str, words: str, closed_port: int) -> None:
    sentence = refused(f"postgresql://user:hush@127.0.0.1:{closed_port}/db?{options}")
    assert words in sentence and "cannot be connected to like this" in sentence


@pytest.mark.parametrize("driver", ["psycopg2", "asyncpg", "pg8000"])
def test_other_drivers_are_refused(driver: str) -> None:
    sentence = refused(f"postgresql+{driver}://user:hush@host/db")
    assert f"not 'postgresql+{driver}'; begin PENSTOCK_DATABASE_URL with postgresql://" in sentence


def test_without_psycopg_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert "pip install 'penstock[postgres]'" in refused("postgresql://user:hush@host/db")


def test_the_place_of_a_database_holds_no_password() -> None:
    assert (
        postgresql.place_of(sa.make_url("postgresql://u:hush@h:1/d?password=hush")) == "postgresql://u@h:1/d"
    )


def test_the_options_of_the_url_come_after_ours(closed_port: int) -> None:
    database = connect(
        f"postgresql://u@127.0.0.1:{closed_port}/d?options=-c+lock_timeout%3D7s&connect_timeout=3"
    )
    seen: dict[str, object] = {}

    @event.listens_for(database.engine, "do_connect")
    def note(dialect: object, record: object, arguments: object, parameters: dict[str, object]) -> None:  # pyright: ignore[reportUnusedFunction]
        seen.update(parameters)

    with pytest.raises(StoreAwayError), database.read():
        pass

    assert str(seen["options"]).startswith("-c lock_timeout=30s ")
    assert str(seen["options"]).endswith(" -c lock_timeout=7s")
    assert seen["connect_timeout"] == "3" and seen["keepalives_idle"] == 10
    assert str(seen["fallback_application_name"]).startswith("penstock ")
