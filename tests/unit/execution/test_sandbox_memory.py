"""Files that only the task sees, in memory and for reading."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from penstock.execution.process.sandbox import Means, MemoryMount, Mount, means
from tests.unit.execution.test_sandbox import inside

FILES = {"user": b"ann", "empty": b"", "it's": b"two\nlines \xff\0", "large": b"x" * 300_000}


@pytest.fixture(params=list(Means))
def by(request: pytest.FixtureRequest) -> Means:
    if request.param is Means.THREAD and means() is not Means.THREAD:
        pytest.skip("only root may do this")
    if subprocess.run(["unshare", "-Urm", "true"], capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    return request.param


def test_the_child_alone_reads_them_and_nobody_writes(by: Means, tmp_path: Path) -> None:
    target = tmp_path / "it's a mount"
    target.mkdir()
    script = f"""
    cd "{target}"
    ls; cat user; wc -c <large; wc -c <empty; od -An -c "it's"; stat -c %a . user
    touch new 2>/dev/null || echo nothing new
    echo x 2>/dev/null >>user || echo nothing changed
    read line && echo "$line"; echo "input ends"
    """
    words = inside(by, [MemoryMount(FILES, target)], script).split()
    assert words[:4] == ["empty", "it's", "large", "user"]
    assert words[4:7] == ["ann300000", "0", "t"]
    assert " ".join(words).endswith("377 \\0 700 400 nothing new nothing changed input ends")
    assert list(target.iterdir()) == []


def test_they_are_nowhere_in_a_command_line(by: Means, tmp_path: Path) -> None:
    mounts: list[Mount | MemoryMount] = [MemoryMount({"password": b"hunter2-secret"}, tmp_path)]
    found = inside(by, mounts, "cat /proc/$$/cmdline /proc/$PPID/cmdline; cat password 2>/dev/null; true")
    assert "hunter2-secret" not in found


def test_a_secret_of_no_keys_is_an_empty_folder(by: Means, tmp_path: Path) -> None:
    (tmp_path / "hidden").touch()
    assert inside(by, [MemoryMount({}, tmp_path)], f"ls '{tmp_path}'") == ""


def test_a_place_that_does_not_exist_is_made_beside_a_file_that_is_mounted(tmp_path: Path) -> None:
    if means() is not Means.THREAD:
        pytest.skip("only root may do this")
    (tmp_path / "here").write_text("from there")
    (tmp_path / "there").touch()
    (tmp_path / "scratch").mkdir()
    mounts = [Mount(tmp_path / "here", tmp_path / "there"), MemoryMount(FILES, tmp_path / "new" / "place")]
    script = f"cat '{tmp_path}/there' '{tmp_path}/new/place/user'"
    assert inside(Means.THREAD, mounts, script, tmp_path / "scratch") == "from thereann"
    assert not (tmp_path / "new").exists()
