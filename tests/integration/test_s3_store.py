from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import urllib.request
from io import BytesIO
from pathlib import Path

import pytest

from penstock.artifacts import ArtifactError, under
from penstock.artifacts.s3.listing import LISTING
from penstock.artifacts.s3.store import S3ArtifactStore
from penstock.artifacts.s3.transfer import PART_BYTES
from tests.integration.s3_service import Bucket
from tests.unit.artifacts.contract import StoreContract, listing_digest, tree

pytestmark = pytest.mark.service("s3")

MIB = 1 << 20
ODD_NAMES = [
    *("ü ä/漢字", "a b", "a+b", "100%", "%41", "a#b", "a?b=c&d", "'\"<&>", "~!*()"),
    *("new\nline", "tab\tand\rreturn", "\x01"),
]


@pytest.fixture
def store(bucket: Bucket) -> S3ArtifactStore:
    return bucket.store()


class TestS3ArtifactStore(StoreContract):
    @pytest.fixture
    def store(self, bucket: Bucket) -> S3ArtifactStore:
        return bucket.store()

    @pytest.fixture
    def base(self, bucket: Bucket) -> str:
        return bucket.uri("a store")


class TestMinioScheme(StoreContract):
    @pytest.fixture
    def store(self, bucket: Bucket) -> S3ArtifactStore:
        return bucket.store()

    @pytest.fixture
    def base(self, bucket: Bucket) -> str:
        return bucket.uri("a store").replace("s3://", "minio://")


def noise(path: Path, size: int) -> Path:
    """Different in every part."""
    with path.open("wb") as file:
        for at in range(0, size, MIB):
            file.write(hashlib.sha256(str(at).encode()).digest() * (MIB // 32))
        file.truncate(size)
    return path


@pytest.mark.parametrize(
    "size", [1, 5 * MIB, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 5 * PART_BYTES, 5 * PART_BYTES + 7]
)
def test_a_file_of_any_number_of_parts_comes_back(
    store: S3ArtifactStore, bucket: Bucket, tmp_path: Path, size: int
) -> None:
    source = noise(tmp_path / "source", size)
    stored = store.put(source, bucket.uri("x"))
    with source.open("rb") as file:
        assert stored.sha256 == hashlib.file_digest(file, "sha256").hexdigest()
    assert store.get(bucket.uri("x"), tmp_path / "copy", expected=stored) == stored
    assert bucket.admin.stat_object(bucket.name, "x").size == size


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_stand_as_they_are(
    store: S3ArtifactStore, bucket: Bucket, tmp_path: Path, name: str
) -> None:
    (tmp_path / "data" / name).parent.mkdir(parents=True)
    (tmp_path / "data" / name).write_text("inside")
    (tmp_path / "file").write_text("alone")
    uri = under(bucket.uri("dir"), name)
    store.put(tmp_path / "file", uri)
    assert f"dir/{name}" in bucket.listed()
    store.put(tmp_path / "data", bucket.uri("all"))
    assert list(store.list(bucket.uri("all"))) == [under(bucket.uri("all"), name)]
    store.get(uri, tmp_path / "back")
    store.get(bucket.uri("all"), tmp_path / "copy")
    assert (tmp_path / "back").read_text() == "alone"
    assert (tmp_path / "copy" / name).read_text() == "inside"
    assert (store.delete(bucket.uri("all")), store.delete(uri)) == (1, 1)
    assert bucket.listed() == []


def test_empty_directories_are_kept(store: S3ArtifactStore, bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "data" / "sub" / "deep").mkdir(parents=True)
    stored = store.put(tmp_path / "empty", bucket.uri("empty"))
    assert (stored.size, stored.files, stored.is_directory) == (0, 0, True)
    assert store.stat(bucket.uri("empty")) == stored
    store.get(bucket.uri("empty"), tmp_path / "copy", expected=stored)
    assert list((tmp_path / "copy").iterdir()) == []
    store.put(tmp_path / "data", bucket.uri("data"))
    store.get(bucket.uri("data"), tmp_path / "back")
    assert (tmp_path / "back" / "sub" / "deep").is_dir()


def test_links_come_back_as_links_and_can_be_read_by_whoever_knows_no_listing(
    store: S3ArtifactStore, bucket: Bucket, tmp_path: Path
) -> None:
    source = tree(tmp_path / "data")
    (source / "latest").symlink_to("sub/b.bin")
    (source / "again").symlink_to("sub", target_is_directory=True)
    stored = store.put(source, bucket.uri("data"))
    store.get(bucket.uri("data"), tmp_path / "copy", expected=stored)
    assert os.readlink(tmp_path / "copy" / "latest") == "sub/b.bin"
    assert (tmp_path / "copy" / "again" / "b.bin").exists()
    assert bucket.admin.stat_object(bucket.name, "data/latest").size == 256


def test_a_prefix_that_somebody_else_wrote_is_a_directory(
    store: S3ArtifactStore, bucket: Bucket, tmp_path: Path
) -> None:
    for key in ("in/a.csv", "in/sub/b.csv", "in/empty/", "inside"):
        bucket.admin.put_object(bucket.name, key, BytesIO(b"1,2"), 0 if key.endswith("/") else 3)
    found = store.stat(bucket.uri("in/"))
    assert found is not None
    assert (found.size, found.is_directory, found.files, found.sha256) == (6, True, 2, "")
    stored = store.get(bucket.uri("in"), tmp_path / "copy")
    assert stored.sha256 == listing_digest(tmp_path / "copy")
    assert (tmp_path / "copy" / "empty").is_dir()
    assert sorted(store.list(bucket.uri())) == [
        bucket.uri("in/a.csv"),
        bucket.uri("in/sub/b.csv"),
        bucket.uri("inside"),
    ]


def test_a_key_that_can_be_no_file_here_is_refused(
    store: S3ArtifactStore, bucket: Bucket, tmp_path: Path
) -> None:
    listing = {
        "version": 1,
        "complete": True,
        "files": [{"name": "../outside", "size": 1, "sha256": "0" * 64}],
        "directories": [],
        "links": {},
    }
    data = json.dumps(listing).encode()
    bucket.admin.put_object(bucket.name, f"x/{LISTING}", BytesIO(data), len(data))
    with pytest.raises(ArtifactError, match=r"listing of .* is damaged"):
        store.get(bucket.uri("x"), tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_is_not_there_before_all_of_it_is(
    store: S3ArtifactStore, bucket: Bucket, tmp_path: Path
) -> None:
    source = tree(tmp_path / "data")
    uri = bucket.uri("run/data")
    store.put(source, uri)

    class Killed(BaseException):
        pass

    def kill(done: int, total: int) -> None:
        if done == total:
            raise Killed

    with pytest.raises(Killed):
        store.put(source, uri, progress=kill)
    assert any(key.startswith("run/data/") for key in bucket.listed())
    assert store.stat(uri) is None
    assert list(store.list(uri)) == list(store.list(bucket.uri("run"))) == []
    with pytest.raises(ArtifactError, match="nothing"):
        store.get(uri, tmp_path / "copy")
    stored = store.put(source, uri)
    assert store.get(uri, tmp_path / "copy", expected=stored) == stored


def test_a_file_and_a_directory_replace_each_other(
    store: S3ArtifactStore, bucket: Bucket, tmp_path: Path
) -> None:
    uri, source = bucket.uri("x"), tree(tmp_path / "data")
    store.put(source / "a.txt", uri)
    store.put(source, uri)
    found = store.stat(uri)
    assert found is not None and found.is_directory
    assert "x" not in bucket.listed()
    store.put(source / "a.txt", uri)
    found = store.stat(uri)
    assert found is not None and not found.is_directory
    assert bucket.listed() == ["x"]


def test_what_an_upload_that_was_killed_left_goes_with_the_next_one_and_with_deletion(
    store: S3ArtifactStore, bucket: Bucket, tmp_path: Path
) -> None:
    client = store.client()
    source = noise(tmp_path / "source", 2 * PART_BYTES)
    client.begin(bucket.name, "x")
    store.put(source, bucket.uri("x"))
    assert list(client.uploads(bucket.name, "x")) == []
    client.begin(bucket.name, "x")
    store.delete(bucket.uri("x"))
    assert list(client.uploads(bucket.name, "x")) == []


def test_an_upload_that_fails_in_the_middle_is_aborted(
    store: S3ArtifactStore, bucket: Bucket, tmp_path: Path
) -> None:
    source = noise(tmp_path / "source", 4 * PART_BYTES)

    def fail(done: int, total: int) -> None:
        if done > 2 * PART_BYTES:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.put(source, bucket.uri("x"), progress=fail)
    assert list(store.client().uploads(bucket.name, "x")) == []
    assert bucket.listed() == []


def test_content_that_is_replaced_while_it_is_read_is_an_error(
    store: S3ArtifactStore, bucket: Bucket, tmp_path: Path
) -> None:
    source = noise(tmp_path / "source", 8 * PART_BYTES)
    store.put(source, bucket.uri("x"))
    other = noise(tmp_path / "other", 8 * PART_BYTES)
    other.write_bytes(b"x" + other.read_bytes()[1:])
    replaced = threading.Event()

    def replace(done: int, total: int) -> None:
        if done and not replaced.is_set():
            replaced.set()
            bucket.admin.fput_object(bucket.name, "x", str(other))

    with pytest.raises(ArtifactError, match="it was changed while it was read"):
        store.get(bucket.uri("x"), tmp_path / "copy", progress=replace)
    assert not (tmp_path / "copy").exists()


def test_a_changed_file_of_a_directory_is_named(
    store: S3ArtifactStore, bucket: Bucket, tmp_path: Path
) -> None:
    store.put(tree(tmp_path / "data"), bucket.uri("data"))
    bucket.admin.put_object(bucket.name, "data/a.txt", BytesIO(b"ALPHA"), 5)
    with pytest.raises(ArtifactError, match=r"data/a\.txt' has changed since it was recorded"):
        store.get(bucket.uri("data"), tmp_path / "copy")


def test_anybody_can_read_by_a_presigned_url(store: S3ArtifactStore, bucket: Bucket, tmp_path: Path) -> None:
    store.put(tree(tmp_path / "data"), bucket.uri("data"))
    with urllib.request.urlopen(store.presign(bucket.uri("data/sub/deep/ü c%20.txt"), 60)) as answer:
        assert answer.read() == b"gamma"
    with pytest.raises(ArtifactError, match="is a directory; ask for one of its files"):
        store.presign(bucket.uri("data"), 60)
    with pytest.raises(ArtifactError, match="there is nothing"):
        store.presign(bucket.uri("none"), 60)
    with pytest.raises(ArtifactError, match="1 second to 7 days"):
        store.presign(bucket.uri("data/a.txt"), 8 * 24 * 3600)


def test_a_name_that_is_not_utf8_is_refused(store: S3ArtifactStore, bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / "data") + b"/\xff")).write_text("x")
    with pytest.raises(ArtifactError, match="is not valid UTF-8"):
        store.put(tmp_path / "data", bucket.uri("data"))
    assert store.stat(bucket.uri("data")) is None


def test_the_name_of_the_listing_is_refused(store: S3ArtifactStore, bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / LISTING).write_text("x")
    with pytest.raises(ArtifactError, match=r"can have our name '\.penstock-listing\.json'"):
        store.put(tmp_path / "data", bucket.uri("data"))


def test_checking_a_root_leaves_nothing_there(store: S3ArtifactStore, bucket: Bucket) -> None:
    store.check(bucket.uri("root"))
    assert bucket.listed() == []
    assert list(store.client().uploads(bucket.name, "root/.penstock-check")) == []


_MEASURED = """
import os, sys
from pathlib import Path
from penstock.artifacts.s3.config import S3Config
from penstock.artifacts.s3.store import S3ArtifactStore
store = S3ArtifactStore(S3Config.read(os.environ))
uri, source, target = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
stored = store.put(source, uri)
store.get(uri, target, expected=stored)
status = Path("/proc/self/status").read_text()
print(int(status.partition("VmHWM:")[2].split()[0]) >> 10)
"""


def test_a_large_file_needs_little_memory(bucket: Bucket, tmp_path: Path) -> None:
    """MiB of a whole process; what a file of one part takes is the measure."""
    used: list[int] = []
    for name, size in (("small", MIB), ("large", 256 * MIB)):
        source = noise(tmp_path / name, size)
        done = subprocess.run(
            [sys.executable, "-c", _MEASURED, bucket.uri(name), str(source), str(tmp_path / f"{name}-copy")],
            env={**os.environ, **bucket.variables},
            capture_output=True,
            text=True,
            check=True,
        )
        used.append(int(done.stdout))
    assert used[1] - used[0] < 96, used
    assert used[1] < 200, used
