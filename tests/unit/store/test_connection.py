"""Which databases are taken, and what a person reads about those that are not."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.errors import InvalidInputError, PenstockError, StoreError
from penstock.store import RunRecord, Store, sqlite
from penstock.store.connection import connect
from tests.unit.store.examples import new_run


def refused(url: str) -> str:
    with pytest.raises(InvalidInputError) as caught:
        Store.open(url)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def told(kind: str) -> Callable[[Path], str]:
    def file_system(folder: Path) -> str:
        return kind

    return file_system


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/new/deep/penstock.db") as store:
        assert store.namespaces.list() == []
    assert (tmp_path / "new/deep/penstock.db").is_file()


def test_a_path_may_be_relative_and_hold_any_character(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Store.open("sqlite:///odd ?%41#é.db") as store:
        run = new_run(store)
        monkeypatch.chdir("/")
        assert store.runs.get(run.id) == run
    assert [found.name for found in tmp_path.iterdir()] == ["odd ?%41#é.db"]


def test_a_tilde_is_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    Store.open("sqlite:///~/penstock.db").close()
    assert (tmp_path / "penstock.db").is_file()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite://host/x.db"])
def test_a_url_without_a_file_is_refused(url: str) -> None:
    assert "names no file" in refused(url)


def test_a_bare_path_is_told_to_be_a_url(tmp_path: Path) -> None:
    assert "has no scheme; set PENSTOCK_DATABASE_URL to sqlite:///" in refused(str(tmp_path / "x.db"))


def test_an_unknown_scheme_is_named() -> None:
    assert "'mysql'" in refused("mysql://user:hush@host/db")


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("these are my notes, not a database")
    assert f"'{file}' is not an SQLite database" in refused(f"sqlite:///{file}")
    assert file.read_text() == "these are my notes, not a database"


def test_a_file_that_only_begins_like_a_database_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "broken.db"
    file.write_bytes(b"SQLite format 3\0" + b"x" * 4096)
    with pytest.raises(PenstockError, match=r"is not an SQLite database|is damaged"):
        Store.open(f"sqlite:///{file}")


def test_the_database_of_another_program_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    assert "belongs to another program (it has a table 'bookmarks')" in refused(f"sqlite:///{file}")
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("bookmarks",)]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert f"the folder '{tmp_path}/file/inside' for the database cannot be made" in refused(
        f"sqlite:///{tmp_path}/file/inside/penstock.db"
    )


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = os.access

    def access(path: Path, mode: int) -> bool:
        return path != tmp_path and allowed(path, mode)

    monkeypatch.setattr(os, "access", access)
    assert f"the folder '{tmp_path}' of the database cannot be written to" in refused(
        f"sqlite:///{tmp_path}/p.db"
    )


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    assert "is not a file" in refused(f"sqlite:///{tmp_path}")


@pytest.mark.parametrize(
    "kind", ["nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "fuse.s3fs", "lustre"]
)
def test_a_network_file_system_is_refused_before_anything_is_made(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "file_system", told(kind))
    sentence = refused(f"sqlite:///{tmp_path}/new/penstock.db")
    assert f"is on a network file system ({kind})" in sentence
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "apfs", "zfs", "fuse.ext4", ""])
def test_a_local_file_system_is_taken(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "file_system", told(kind))
    Store.open(f"sqlite:///{tmp_path}/penstock.db").close()


def test_the_mount_nearest_to_the_folder_tells_its_file_system(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/vda / ext4 rw 0 0\n"
        "server:/home /home nfs4 rw 0 0\n"
        "/dev/vdb /home/my\\040data xfs rw 0 0\n"
        "host:/x /homestead cifs rw 0 0\n"
        "broken line\n"
    )

    def kind(folder: str) -> str:
        return sqlite.file_system(Path(folder), mounts)

    assert kind("/srv") == "ext4"
    assert kind("/home") == "nfs4"
    assert kind("/home/me/not/yet/there") == "nfs4"
    assert kind("/home/my data/x") == "xfs"
    assert kind("/homestead") == "cifs"
    assert sqlite.file_system(Path("/"), tmp_path / "nowhere") == ""


def test_a_link_is_followed_to_its_file_system(tmp_path: Path) -> None:
    (tmp_path / "remote").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "remote")
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/x {os.path.realpath(tmp_path)}/remote nfs rw 0 0\n")
    assert sqlite.file_system(tmp_path / "link" / "home", mounts) == "nfs"


def test_every_commit_is_on_the_disk_and_readers_never_wait(tmp_path: Path) -> None:
    database = connect(f"sqlite:///{tmp_path}/penstock.db")
    with database.write() as connection:
        found = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    database.close()
    assert found == ["wal", 2, 1, 30_000]


def test_a_full_disk_is_one_sentence_and_nothing_is_half_recorded(tmp_path: Path) -> None:
    def fill(store: Store, run: RunRecord) -> None:
        with store.transaction(), store._database.read() as connection:  # pyright: ignore[reportPrivateUsage]
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
            store.runs.request_cancel(run.id)
            new_run(store, arguments={"x": "y" * 100_000})

    with Store.open(f"sqlite:///{tmp_path}/penstock.db") as store:
        run = new_run(store)
        with pytest.raises(StoreError, match=r"the disk of the database '.*' is full; make room and resume"):
            fill(store, run)
    with Store.open(f"sqlite:///{tmp_path}/penstock.db") as store:
        assert [found.id for found in store.runs.list()] == [run.id]
        assert not store.runs.cancel_requested(run.id)


def test_a_database_held_by_another_process_is_waited_for_and_then_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "PATIENCE", 0.2)
    with Store.open(f"sqlite:///{tmp_path}/penstock.db") as store:
        other = sqlite3.connect(tmp_path / "penstock.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"has been in use by another process for 0\.2 s"):
            store.namespaces.ensure("n")
        other.execute("COMMIT")
        other.close()
        store.namespaces.ensure("n")
        assert store.namespaces.list() == ["n"]
