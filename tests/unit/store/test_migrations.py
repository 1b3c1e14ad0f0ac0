"""The schema, made at once or by Alembic."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from penstock.errors import InvalidInputError
from penstock.store import Store, migrations
from penstock.store.connection import Database, connect
from penstock.store.schema import metadata
from tests.unit.store.examples import new_run


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


def test_both_ways_give_the_same_schema(tmp_path: Path) -> None:
    at_once, by_steps = (connect(f"sqlite:///{tmp_path}/{name}.db") for name in ("once", "steps"))
    migrations.bring_up_to_date(at_once)
    with by_steps.write() as connection:
        migrations.upgrade(connection)
    assert described(at_once) == described(by_steps)
    assert set(described(at_once)) == set(metadata.tables)
    with by_steps.read() as connection:
        assert migrations.current(connection) == migrations.HEAD
        partial = sa.text("SELECT name, sql FROM sqlite_master WHERE sql LIKE '% WHERE %' ORDER BY name")
        wheres = connection.execute(partial).all()
    with at_once.read() as connection:
        assert connection.execute(partial).all() == wheres
    assert [name for name, _ in wheres] == [
        "ix_executions_cached_execution_id",
        "ix_outbox_waiting",
        "uq_attempts_live",
    ]


def test_alembic_finds_nothing_to_add(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    database = connect(f"sqlite:///{tmp_path}/penstock.db")
    with database.write() as connection:
        migrations.upgrade(connection)
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    assert [one for one in differences if "alembic_version" not in str(one)] == []


def test_a_schema_goes_down_and_up_again(tmp_path: Path) -> None:
    database = connect(f"sqlite:///{tmp_path}/penstock.db")
    migrations.bring_up_to_date(database)
    before = described(database)
    with database.write() as connection:
        migrations.downgrade(connection, "base")
        assert migrations.current(connection) is None
    assert set(described(database)) == {"alembic_version"}
    with database.write() as connection:
        migrations.upgrade(connection)
    assert described(database) == before
    with database.write() as connection:
        migrations.downgrade(connection, "base")
    migrations.bring_up_to_date(database)
    assert described(database) == before


def test_a_failed_migration_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    database = connect(f"sqlite:///{tmp_path}/penstock.db")
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        migrations.upgrade(connection)
        raise ZeroDivisionError
    assert described(database) == {}


def test_the_database_of_a_newer_penstock_is_refused_and_untouched(url: str) -> None:
    with Store.open(url) as store:
        run = new_run(store)
        database = store._database  # pyright: ignore[reportPrivateUsage]
        with database.write() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(InvalidInputError, match=r"written by a newer penstock \(schema 9999, this one knows"):
        Store.open(url)
    database = connect(url)
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
