"""The schema, made at once or by Alembic."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TypeAlias

import pytest
import sqlalchemy as sa

from penstock.errors import InvalidInputError
from penstock.store import Store, migrations, new_id
from penstock.store.connection import Database, connect
from penstock.store.schema import metadata
from tests.databases import POSTGRES
from tests.unit.store.examples import new_run

Fresh: TypeAlias = Callable[[], Database]


@pytest.fixture(params=["sqlite", POSTGRES])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fresh]:
    """Makes databases without tables."""
    with ExitStack() as opened:

        def make() -> Database:
            if request.param == "postgres":
                url = opened.enter_context(request.getfixturevalue("databases").fresh())
            else:
                url = f"sqlite:///{tmp_path}/{new_id()}.db"
            return opened.enter_context(closing(connect(url)))

        yield make


def described(database: Database) -> dict[str, object]:
    with database.read() as connection:
        found = sa.inspect(connection)
        return {
            name: (
                [
                    (one["name"], str(one["type"]), one["nullable"], one["default"])
                    for one in found.get_columns(name)
                ],
                found.get_pk_constraint(name),
                sorted(found.get_foreign_keys(name), key=str),
                sorted(found.get_unique_constraints(name), key=str),
                sorted(
                    ((one["name"], one["column_names"], one["unique"]) for one in found.get_indexes(name)),
                    key=str,
                ),
            )
            for name in found.get_table_names()
        }


def indexes(database: Database) -> dict[str, str]:
    """What each index is, as the database says it."""
    query = {
        "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
        "postgresql": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    }
    with database.read() as connection:
        rows = connection.exec_driver_sql(query[connection.dialect.name])
        return {name: " ".join(text.replace('"', "").split()) for name, text in rows}


def test_both_ways_give_the_same_schema(fresh: Fresh) -> None:
    at_once, by_steps = fresh(), fresh()
    migrations.bring_up_to_date(at_once)
    with by_steps.write(upkeep=True) as connection:
        migrations.upgrade(connection)
    assert described(at_once) == described(by_steps)
    assert set(described(at_once)) == set(metadata.tables)
    assert indexes(at_once) == indexes(by_steps)
    partial = {name for name, text in indexes(at_once).items() if " WHERE " in text}
    assert {"ix_outbox_waiting", "uq_attempts_live"} <= partial
    with by_steps.read() as connection:
        assert migrations.current(connection) == migrations.HEAD


def test_alembic_finds_nothing_to_add(fresh: Fresh) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    database = fresh()
    with database.write(upkeep=True) as connection:
        migrations.upgrade(connection)
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    assert [one for one in differences if "alembic_version" not in str(one)] == []


def test_a_schema_goes_down_and_up_again(fresh: Fresh) -> None:
    database = fresh()
    migrations.bring_up_to_date(database)
    before = described(database)
    with database.write(upkeep=True) as connection:
        migrations.downgrade(connection, "base")
        assert migrations.current(connection) is None
    assert set(described(database)) == {"alembic_version"}
    with database.write(upkeep=True) as connection:
        migrations.upgrade(connection)
    assert described(database) == before
    with database.write(upkeep=True) as connection:
        migrations.downgrade(connection, "base")
    migrations.bring_up_to_date(database)
    assert described(database) == before


def test_a_failed_migration_leaves_the_database_as_it_was(fresh: Fresh) -> None:
    database = fresh()
    with pytest.raises(ZeroDivisionError), database.write(upkeep=True) as connection:
        migrations.upgrade(connection)
        raise ZeroDivisionError
    assert described(database) == {}


def test_many_that_bring_a_database_up_to_date_at_once_make_it_once(fresh: Fresh) -> None:
    database = fresh()
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: migrations.bring_up_to_date(database), range(4)))
    assert sorted(found, key=str) == ["0001", "0001", "0001", None]
    assert set(described(database)) == set(metadata.tables)


def test_the_database_of_another_program_is_refused_and_untouched(fresh: Fresh) -> None:
    database = fresh()
    with database.write(upkeep=True) as connection:
        connection.execute(sa.text("CREATE TABLE bookmarks (url TEXT)"))
    with pytest.raises(InvalidInputError, match=r"belongs to another program \(it has a table 'bookmarks'\)"):
        migrations.bring_up_to_date(database)
    assert set(described(database)) == {"bookmarks"}


@pytest.mark.service("postgres")
def test_the_database_of_a_server_is_not_changed_by_opening_it(empty_postgres_url: str) -> None:
    with pytest.raises(InvalidInputError, match=r"has no tables of penstock's; run `penstock db upgrade`"):
        Store.open(empty_postgres_url)
    with closing(connect(empty_postgres_url)) as database:
        assert described(database) == {}


@pytest.mark.service("postgres")
def test_an_older_schema_of_a_server_asks_for_the_upgrade(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "HEAD", "0002")
    with pytest.raises(
        InvalidInputError, match=r"has schema 0001, this penstock needs 0002; run `penstock db upgrade`"
    ):
        Store.open(postgres_url)


def test_the_database_of_a_newer_penstock_is_refused_and_untouched(url: str) -> None:
    with Store.open(url) as store:
        run = new_run(store)
        database = store._database  # pyright: ignore[reportPrivateUsage]
        with database.write() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(InvalidInputError, match=r"written by a newer penstock \(schema 9999, this one knows"):
        Store.open(url)
    with closing(connect(url)) as database:
        with pytest.raises(InvalidInputError, match=r"written by a newer penstock"):
            migrations.bring_up_to_date(database)
        with database.write() as connection:
            connection.execute(sa.text(f"UPDATE alembic_version SET version_num = '{migrations.HEAD}'"))
    with Store.open(url) as store:
        assert store.runs.get(run.id) == run


def test_the_head_is_the_newest_version_in_the_folder() -> None:
    from alembic.script import ScriptDirectory

    assert ScriptDirectory(str(Path(migrations.__file__).parent)).get_heads() == [migrations.HEAD]


def loaded(code: str) -> set[str]:
    """The packages that a new interpreter has loaded after `code`."""
    script = f"{code}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_records_come_without_sqlalchemy() -> None:
    assert not {"sqlalchemy", "alembic"} & loaded(
        "from penstock.store import RunRecord, AttemptState, new_id"
    )


def test_fresh_and_present_databases_open_without_alembic(tmp_path: Path) -> None:
    opening = f"from penstock.store import Store; Store.open('sqlite:///{tmp_path}/p.db').close()"
    for _ in range(2):
        found = loaded(opening)
        assert "sqlalchemy" in found
        assert "alembic" not in found


def test_only_the_dialect_that_is_used_is_loaded(tmp_path: Path) -> None:
    opening = f"from penstock.store import Store; Store.open('sqlite:///{tmp_path}/p.db').close()"
    script = f"{opening}\nimport sys; print('sqlalchemy.dialects.postgresql' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
