from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from penstock.execution.process.sandbox import (
    Means,
    MemoryMount,
    Mount,
    PrivateTmp,
    means,
    private_tmp,
    spawn,
)
from penstock.model import Json

FOLDER = Path("/var/penstock/tmp")


def shared(values: dict[str, Json], *needed: Path, texts: tuple[str, ...] = ()) -> list[str] | str:
    found, why = private_tmp(FOLDER, needed, values, texts)
    return why if found is None else [str(one) for one in found.shared]


@pytest.fixture
def below() -> Iterator[Path]:
    """A real directory below /tmp, wherever the tests have theirs."""
    with tempfile.TemporaryDirectory(prefix="penstock-test-", dir="/tmp") as folder:
        yield Path(folder)


def test_without_a_reason_nothing_of_tmp_is_shared() -> None:
    assert shared({"x": "/home/x", "y": 3, "z": "/tmpfiles/x", "w": "tmp/x"}, Path("/usr/bin/python3")) == []


def test_what_the_task_needs_stays_reachable(below: Path) -> None:
    (below / "file").touch()
    assert shared({}, below / "file", below / "sub" / "later") == [str(below)]
    assert shared({}, below / "file") == [str(below / "file")]


def test_what_an_input_names_stays_reachable_by_the_directory_above(below: Path) -> None:
    (below / "file").touch()
    values: list[Json] = [
        f"{below}/file",
        f"file://{below}/new/file",
        [{"deep": f"{below}/x"}],
        f"sqlite:///{below}/x.db",
    ]
    for value in values:
        assert shared({"x": value}) == [str(below)]


@pytest.mark.parametrize("value", ["/tmp", "/tmp/", "/tmp/no-such-folder-of-penstock/x", ["/tmp/new-file"]])
def test_an_input_that_names_tmp_itself_shares_all_of_it(value: Json) -> None:
    assert "the input 'x' names '/tmp" in shared({"x": value})


def test_a_path_that_leads_out_of_tmp_shares_nothing() -> None:
    assert shared({"x": "/tmp/../etc/passwd"}) == []


def test_a_directory_that_the_command_mentions_stays_reachable(below: Path) -> None:
    texts = (f"echo x >> '{below}/count'", "cat /tmp/no-such-folder-of-penstock/y /var/tmp/z")
    assert shared({}, texts=texts) == [str(below)]


def test_a_directory_inside_a_shared_one_is_not_shared_again(below: Path) -> None:
    (below / "sub").mkdir()
    assert shared({"x": f"{below}/sub/y", "z": f"{below}/y"}) == [str(below)]


def test_what_the_task_calls_by_a_path_is_found_on_the_machine() -> None:
    tmp = PrivateTmp(FOLDER, (Path("/tmp/shared"),))
    assert tmp.host_path(Path("/tmp/x/y")) == FOLDER / "x" / "y"
    assert tmp.host_path(Path("/tmp/shared/y")) == Path("/tmp/shared/y")
    assert tmp.host_path(Path("/data/y")) == Path("/data/y")


def inside(by: Means, mounts: Sequence[Mount | MemoryMount], script: str, scratch: Path | None = None) -> str:
    reading, writing = os.pipe()
    try:
        child = spawn(["/bin/sh", "-c", script], mounts, by, output=writing, scratch=scratch)
    finally:
        os.close(writing)
    with os.fdopen(reading) as file:
        text = file.read()
    assert child.wait() == 0, text
    return text


@pytest.mark.parametrize("by", list(Means))
def test_mounts_are_seen_by_the_child_alone(by: Means, below: Path) -> None:
    if by is Means.THREAD and means() is not Means.THREAD:
        pytest.skip("only root may do this")
    if subprocess.run(["unshare", "-Urm", "true"], capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    private, kept = below / "it's private", below / "kept"
    private.mkdir()
    kept.mkdir()
    (kept / "seen").touch()
    tmp = PrivateTmp(private, (kept,))
    tmp.prepare()
    text = inside(by, tmp.mounts(), f"touch /tmp/mine; ls /tmp; ls '{kept}'")
    assert text.split() == ["mine", below.name, "seen"]
    assert (private / "mine").exists()
    assert not os.path.exists("/tmp/mine")


def test_a_mount_that_is_not_possible_is_an_error(tmp_path: Path) -> None:
    if means() is not Means.THREAD:
        pytest.skip("only root may do this")
    with pytest.raises(OSError, match="No such file"):
        spawn(["true"], [Mount(tmp_path / "missing", tmp_path)], Means.THREAD)
