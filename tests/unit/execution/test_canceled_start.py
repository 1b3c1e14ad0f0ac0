"""A task that is canceled while its Python environment is being built."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from penstock.artifacts import FileArtifactStore
from penstock.execution.environments import builder
from penstock.execution.environments.cache import Environments
from penstock.execution.environments.pythons import running_python
from penstock.execution.manifest import Outcome
from penstock.execution.process.launcher import ProcessLauncher
from penstock.model import Reason
from tests.unit.execution.launching import container, order
from tests.unit.execution.local_index import slow_sdist

pytestmark = pytest.mark.skipif(
    not builder.bundled_wheels(running_python()), reason="this Python brings no pip for ensurepip"
)

INSTALL = 'python3 -m pip install --quiet --no-warn-script-location slow && "$0" "$@"'


def test_it_ends_soon_leaves_no_process_and_the_next_one_builds_again(
    tmp_path: Path, environments: Environments, links: Path, variables: Mapping[str, str]
) -> None:
    slow_sdist(links, tmp_path)
    launcher = ProcessLauncher(tmp_path / "home", FileArtifactStore(), environments)
    executor = container("sh", "-c", INSTALL, "python3", "-c", "import slow; print(slow.VERSION)")
    started, canceled_at = tmp_path / "started", list[float]()

    def canceled() -> bool:
        if started.exists() and not canceled_at:
            canceled_at.append(time.monotonic())
        return bool(canceled_at)

    manifest = launcher.start(order(tmp_path, executor), None, canceled).wait()

    assert time.monotonic() - canceled_at[0] < 1.5
    assert manifest is not None
    assert (manifest.outcome, manifest.reason) == (Outcome.CANCELED, Reason.CANCELED)
    assert manifest.error == "task 'train' was canceled before it began"
    assert processes_with(variables["SLOW_RELEASED"]) == []
    assert environments.list() == ()

    again = launcher.start(order(tmp_path, executor)).wait()
    assert again == manifest

    Path(variables["SLOW_RELEASED"]).touch()
    another = launcher.start(order(tmp_path, executor, "attempt-2"), None, lambda: False).wait(60)
    assert another is not None and another.outcome is Outcome.SUCCEEDED
    launcher.close()


def test_whoever_waits_for_another_builder_ends_as_soon(
    tmp_path: Path, environments: Environments, links: Path, variables: Mapping[str, str]
) -> None:
    slow_sdist(links, tmp_path)
    launcher = ProcessLauncher(tmp_path / "home", FileArtifactStore(), environments)
    executor = container("sh", "-c", INSTALL, "python3", "-c", "pass")
    building = threading.Thread(target=lambda: launcher.start(order(tmp_path, executor)).wait(60))
    building.start()
    while not (tmp_path / "started").exists():
        time.sleep(0.02)
    asked = threading.Event()

    manifest = launcher.start(
        order(tmp_path, executor, "attempt-2"), lambda line: asked.set(), asked.is_set
    ).wait()

    assert manifest is not None and manifest.outcome is Outcome.CANCELED
    Path(variables["SLOW_RELEASED"]).touch()
    building.join(60)
    assert len(environments.list()) == 1
    launcher.close()


def processes_with(text: str) -> list[str]:
    """The command lines of all processes that have `text` in their environment."""
    found: list[str] = []
    for one in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (one / "environ").read_bytes():
                found.append((one / "cmdline").read_bytes().decode().replace("\0", " "))
        except OSError:
            continue
    return found
