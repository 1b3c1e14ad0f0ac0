from __future__ import annotations

import os
import stat
import sys
import tracemalloc
from pathlib import Path

import pytest

from penstock.artifacts import ArtifactError, FileArtifactStore, open_store, path_of, scheme_of, uri_of
from penstock.errors import TaskError
from tests.unit.artifacts.contract import StoreContract, tree


class TestFileArtifactStore(StoreContract):
    @pytest.fixture
    def store(self) -> FileArtifactStore:
        return FileArtifactStore()

    @pytest.fixture
    def base(self, tmp_path: Path) -> str:
        return uri_of(tmp_path / "a store")


class TestPlainPaths(TestFileArtifactStore):
    @pytest.fixture
    def base(self, tmp_path: Path) -> str:
        return str(tmp_path / "a store")


def put(text: str, place: Path) -> FileArtifactStore:
    source = place.parent / "source"
    source.write_text(text)
    store = FileArtifactStore()
    store.put(source, str(place))
    return store


def test_a_move_on_one_file_system_does_not_copy(tmp_path: Path) -> None:
    source = tree(tmp_path / "data")
    inode = (source / "a.txt").stat().st_ino
    FileArtifactStore().put(source, str(tmp_path / "store" / "data"), move=True)
    assert (tmp_path / "store" / "data" / "a.txt").stat().st_ino == inode
    assert not source.exists()


def test_what_is_stored_is_read_only_and_what_is_got_is_not(tmp_path: Path) -> None:
    store = put("x", tmp_path / "stored")
    assert stat.S_IMODE((tmp_path / "stored").stat().st_mode) & 0o222 == 0
    store.get(str(tmp_path / "stored"), tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_mode & stat.S_IWUSR


def test_local_is_the_place_itself(tmp_path: Path) -> None:
    store = put("x", tmp_path / "stored")
    assert store.local(uri_of(tmp_path / "stored")) == tmp_path / "stored"


def test_the_remains_of_a_dead_put_are_never_shown(tmp_path: Path) -> None:
    store = FileArtifactStore()
    root = tmp_path / "store"
    store.put(tree(tmp_path / "data"), str(root / "data"))
    (root / ".penstock-put-123").write_text("half")
    (root / "data" / ".penstock-put-456").write_text("half")
    assert [Path(uri).name for uri in store.list(str(root))] == ["a.txt", "b.bin", "ü c%20.txt"]


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "source").write_text("x")

    def full(handle: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match="the disk is full"):
        FileArtifactStore().put(tmp_path / "source", str(tmp_path / "store" / "x"))
    assert list((tmp_path / "store").iterdir()) == []


def test_a_link_in_the_final_place_is_replaced_by_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "big").write_text("content")
    (tmp_path / "place").symlink_to(tmp_path / "big")
    FileArtifactStore().put(tmp_path / "place", str(tmp_path / "place"), move=True)
    assert not (tmp_path / "place").is_symlink()
    assert (tmp_path / "place").read_text() == "content"


def test_a_large_file_needs_little_memory(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as large:
        large.truncate(64 << 20)
    tracemalloc.start()
    FileArtifactStore().put(tmp_path / "large", str(tmp_path / "stored"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 << 20


@pytest.mark.parametrize(
    ("uri", "complaint"),
    [
        ("relative/path", "relative path"),
        ("", "relative path"),
        ("file://", "relative path"),
        ("/a/../b", r"'\.\.'"),
        ("file:///a/%2e%2e/b", r"'\.\.'"),
        ("file:///a%2F..%2Fb", r"'\.\.'"),
        ("/a\0b", "NUL"),
        ("file:///a%00b", "NUL"),
        ("file://elsewhere/a", "names the host 'elsewhere'"),
        ("s3://bucket/key", "not a file"),
    ],
)
def test_a_uri_that_names_no_place_here_is_refused(uri: str, complaint: str) -> None:
    with pytest.raises(ArtifactError, match=complaint):
        path_of(uri)


@pytest.mark.parametrize(
    "path", ["/a b/c", "/100%", "/a%20b", "/ü/#?&", "/new\nline", "/..a/b..", "/x\udcff"]
)
def test_percent_encoding_is_right_both_ways(path: str) -> None:
    assert str(path_of(uri_of(Path(path)))) == path
    assert str(path_of(path)) == path


def test_a_uri_written_by_hand_is_read_as_meant() -> None:
    assert path_of("file:///data/a b#c?d.csv") == Path("/data/a b#c?d.csv")
    assert path_of("file://localhost/data") == Path("/data")
    assert path_of("FILE:///data/x") == Path("/data/x")


def test_nothing_outside_of_a_root_is_written_or_deleted(tmp_path: Path) -> None:
    store = FileArtifactStore(tmp_path / "root")
    (tmp_path / "x").write_text("x")
    with pytest.raises(ArtifactError, match="outside of the artifact folder"):
        store.put(tmp_path / "x", str(tmp_path / "y"))
    with pytest.raises(ArtifactError, match="outside of the artifact folder"):
        store.delete(str(tmp_path / "x"))
    with pytest.raises(ArtifactError, match="root of the file system"):
        FileArtifactStore().delete("file:///")


def test_a_store_that_is_not_installed_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [one for one in sys.modules if one.partition(".")[0] == "minio" or ".artifacts.s3." in one]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "minio", None)
    with pytest.raises(TaskError, match=r"s3://.*pip install 'penstock\[s3\]'"):
        open_store("s3://bucket/key")
    with pytest.raises(TaskError, match="ftp://"):
        open_store("ftp://host/file")
    assert isinstance(open_store("/plain/path"), FileArtifactStore)
    assert scheme_of("S3://b/k") == "s3"
