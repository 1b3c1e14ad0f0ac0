"""Pytest plugin: who has the cluster. Tests that need it share it; one marked `alone` takes parts of it down,
and has it for itself, whatever other processes of the suite are at.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.services import SERVICES, services_of

_CLUSTER = "kubernetes"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "alone: nobody else may use the cluster meanwhile")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    cluster = os.environ.get(SERVICES[_CLUSTER].variable, "")
    if not cluster or _CLUSTER not in services_of(item):
        return (yield)
    with _turn(cluster, alone=item.get_closest_marker("alone") is not None):
        return (yield)


@contextmanager
def _turn(cluster: str, *, alone: bool) -> Iterator[None]:
    """Who waits to be alone is not passed by others: all come through the gate one by one."""
    name = hashlib.sha256(os.fsencode(Path(cluster).resolve())).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"penstock-turns-{name}"
    folder.mkdir(exist_ok=True)
    with (folder / "gate").open("w") as gate, (folder / "use").open("w") as use:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(use, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield
