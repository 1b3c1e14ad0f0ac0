"""What every artifact store does: a store's tests inherit from `StoreContract` and give its two fixtures."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from penstock.artifacts import ArtifactError, ArtifactStore, Stored, under


def tree(root: Path) -> Path:
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "a.txt").write_text("alpha")
    (root / "sub" / "b.bin").write_bytes(bytes(range(256)))
    (root / "sub" / "deep" / "ü c%20.txt").write_text("gamma")
    return root


def listing_digest(root: Path) -> str:
    """Computed here once more, in other words, from the definition."""
    names = sorted(os.fsencode(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    lines = [
        hashlib.sha256((root / os.fsdecode(name)).read_bytes()).hexdigest().encode() + b"  " + name + b"\0"
        for name in names
    ]
    return hashlib.sha256(b"".join(lines)).hexdigest()


class StoreContract:
    @pytest.fixture
    def store(self) -> ArtifactStore:
        raise NotImplementedError

    @pytest.fixture
    def base(self) -> str:
        """A URI below which nothing is stored yet."""
        raise NotImplementedError

    def test_a_file_comes_back_as_it_was_put(self, store: ArtifactStore, base: str, tmp_path: Path) -> None:
        source = tmp_path / "model"
        source.write_bytes(b"\x00\xff" * 700_000)
        uri = under(base, "pipeline/run/train/model")
        stored = store.put(source, uri)
        assert stored == Stored(uri, 1_400_000, hashlib.sha256(source.read_bytes()).hexdigest())
        assert source.exists()
        target = tmp_path / "new" / "folder" / "copy"
        assert store.get(uri, target, expected=stored) == stored
        assert target.read_bytes() == source.read_bytes()

    def test_progress_hears_of_the_last_byte_before_anything_is_visible(
        self, store: ArtifactStore, base: str, tmp_path: Path
    ) -> None:
        uri = under(base, "data")
        heard: list[tuple[int, int, bool]] = []
        store.put(
            tree(tmp_path / "data"),
            uri,
            progress=lambda done, total: heard.append((done, total, store.stat(uri) is not None)),
        )
        assert heard[-1] == (266, 266, False)
        got: list[tuple[int, int]] = []
        store.get(uri, tmp_path / "copy", progress=lambda done, total: got.append((done, total)))
        assert got[-1] == (266, 266)

    def test_an_empty_file_is_an_artifact(self, store: ArtifactStore, base: str, tmp_path: Path) -> None:
        (tmp_path / "empty").touch()
        stored = store.put(tmp_path / "empty", under(base, "empty"))
        assert (stored.size, stored.sha256) == (0, hashlib.sha256(b"").hexdigest())

    def test_a_directory_comes_back_with_all_its_files(
        self, store: ArtifactStore, base: str, tmp_path: Path
    ) -> None:
        source = tree(tmp_path / "data")
        uri = under(base, "data")
        stored = store.put(source, uri)
        assert stored.is_directory
        assert stored.files == 3
        assert stored.size == 5 + 256 + 5
        assert stored.sha256 == listing_digest(source)
        store.get(uri, tmp_path / "copy", expected=stored)
        assert listing_digest(tmp_path / "copy") == stored.sha256

    def test_moving_consumes_or_keeps_the_source_and_stores_the_same(
        self, store: ArtifactStore, base: str, tmp_path: Path
    ) -> None:
        kept = store.put(tree(tmp_path / "kept"), under(base, "kept"))
        moved = store.put(tree(tmp_path / "moved"), under(base, "moved"), move=True)
        assert (moved.size, moved.sha256, moved.files) == (kept.size, kept.sha256, kept.files)
        store.get(under(base, "moved"), tmp_path / "back", expected=kept)

    def test_putting_again_replaces(self, store: ArtifactStore, base: str, tmp_path: Path) -> None:
        uri = under(base, "again")
        store.put(tree(tmp_path / "data"), uri)
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "only").write_text("x")
        store.put(tmp_path / "other", uri)
        assert list(store.list(uri)) == [under(uri, "only")]

    def test_what_a_task_wrote_in_its_final_place_is_kept_there(
        self, store: ArtifactStore, base: str
    ) -> None:
        uri = under(base, "in/place")
        place = store.place(uri)
        if place is None:
            pytest.skip("this store has no local places")
        tree(place)
        stored = store.put(place, uri, move=True)
        assert stored == store.put(place, uri, move=True)
        assert stored.sha256 == listing_digest(place)

    def test_changed_content_is_an_error_and_leaves_nothing(
        self, store: ArtifactStore, base: str, tmp_path: Path
    ) -> None:
        (tmp_path / "one").write_text("one")
        (tmp_path / "two").write_text("two")
        uri = under(base, "x")
        before = store.put(tmp_path / "one", uri)
        store.put(tmp_path / "two", uri)
        with pytest.raises(ArtifactError, match="has changed since it was recorded"):
            store.get(uri, tmp_path / "target" / "t", expected=before)
        assert list((tmp_path / "target").iterdir()) == []

    def test_nothing_is_there_before_it_is_put(self, store: ArtifactStore, base: str, tmp_path: Path) -> None:
        uri = under(base, "nothing")
        assert store.stat(uri) is None
        assert store.local(uri) is None
        assert list(store.list(uri)) == []
        assert store.delete(uri) == 0
        with pytest.raises(ArtifactError, match="nothing"):
            store.get(uri, tmp_path / "t")

    def test_a_missing_source_is_an_error_and_stores_nothing(
        self, store: ArtifactStore, base: str, tmp_path: Path
    ) -> None:
        with pytest.raises(ArtifactError, match="no such file"):
            store.put(tmp_path / "missing", under(base, "missing"))
        assert store.stat(under(base, "missing")) is None

    def test_stat_tells_size_and_kind(self, store: ArtifactStore, base: str, tmp_path: Path) -> None:
        store.put(tree(tmp_path / "data"), under(base, "data"))
        found = store.stat(under(base, "data"))
        assert found is not None
        assert (found.size, found.is_directory, found.files) == (266, True, 3)
        found = store.stat(under(base, "data/a.txt"))
        assert found is not None
        assert (found.size, found.is_directory) == (5, False)

    def test_list_gives_uris_that_can_be_read(self, store: ArtifactStore, base: str, tmp_path: Path) -> None:
        source = tree(tmp_path / "data")
        uri = under(base, "odd name/%41/#?&+é")
        store.put(source, uri)
        listed = list(store.list(uri))
        assert listed == [under(uri, name) for name in ("a.txt", "sub/b.bin", "sub/deep/ü c%20.txt")]
        store.get(listed[2], tmp_path / "one")
        assert (tmp_path / "one").read_text() == "gamma"

    def test_delete_removes_everything_below(self, store: ArtifactStore, base: str, tmp_path: Path) -> None:
        store.put(tree(tmp_path / "data"), under(base, "run/data"))
        store.put(tmp_path / "data" / "a.txt", under(base, "run/model"))
        store.put(tmp_path / "data" / "a.txt", under(base, "runs"))
        assert store.delete(under(base, "run")) == 4
        assert list(store.list(base)) == [under(base, "runs")]

    def test_a_link_that_leads_outside_is_refused(
        self, store: ArtifactStore, base: str, tmp_path: Path
    ) -> None:
        source = tree(tmp_path / "data")
        (tmp_path / "secret").write_text("secret")
        (source / "sub" / "link").symlink_to("../../secret")
        with pytest.raises(ArtifactError, match=r"'sub/link' .* leads outside"):
            store.put(source, under(base, "data"))
        assert store.stat(under(base, "data")) is None

    def test_a_link_inside_can_be_read_after_a_move(
        self, store: ArtifactStore, base: str, tmp_path: Path
    ) -> None:
        source = tree(tmp_path / "data")
        (source / "latest").symlink_to(source / "sub" / "b.bin")
        stored = store.put(source, under(base, "data"), move=True)
        assert stored.files == 4
        store.get(under(base, "data"), tmp_path / "copy", expected=stored)
        assert (tmp_path / "copy" / "latest").read_bytes() == bytes(range(256))

    def test_a_named_pipe_is_refused(self, store: ArtifactStore, base: str, tmp_path: Path) -> None:
        source = tree(tmp_path / "data")
        os.mkfifo(source / "pipe")
        with pytest.raises(ArtifactError, match="named pipe"):
            store.put(source, under(base, "data"))
        with pytest.raises(ArtifactError, match="named pipe"):
            store.put(source / "pipe", under(base, "pipe"))
