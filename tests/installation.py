"""Pytest plugin: an installation of penstock, with a real worker, that all tests of a session share.

A process of its own has it, and takes it down when the last who used it has ended, in whatever way:
`python -m tests.installation FOLDER`.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, cast
from uuid import uuid4

import pytest

from penstock.execution.settings import Settings, load_settings
from penstock.store import upkeep
from tests.services import need

KEPT = "installation.json"
_PATIENCE = 120.0
_LOOK = 0.05
_TOLD = 60_000
"""Characters of each worker's log that a failed test shows."""


@dataclass
class Worker:
    """`penstock worker`, a process of its own, with what it says in the file `log`."""

    process: subprocess.Popen[bytes]
    log: Path

    def wait_for(self, text: str) -> None:
        """Comes back when it has said so."""
        until = time.monotonic() + _PATIENCE
        while text not in self.log.read_text(errors="replace"):
            code = self.process.poll()
            assert code is None, f"the worker ended with {code}: {self.log.read_text(errors='replace')}"
            assert time.monotonic() < until, f"the worker never said {text!r}: {self.log.read_text()}"
            time.sleep(_LOOK)

    def stop(self) -> int:
        """A warm shutdown; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(_PATIENCE)
        finally:
            self.process.kill()


@dataclass(frozen=True)
class Installation:
    """`variables` are what its workers, and its clients, have in their environment."""

    namespace: str
    bucket: str
    folder: Path
    variables: Mapping[str, str]

    @property
    def settings(self) -> Settings:
        return load_settings(environ={**os.environ, **self.variables})

    def uri(self, key: str) -> str:
        """In its bucket, beside the pipeline root."""
        return f"s3://{self.bucket}/{key}"

    @contextmanager
    def worker(self, *options: str, **variables: str) -> Iterator[Worker]:
        """Another one. It is there when it serves its queues."""
        worker = self.start(*options, **variables)
        try:
            yield worker
        finally:
            worker.stop()

    def start(self, *options: str, **variables: str) -> Worker:
        log = self.folder / f"worker-{uuid4().hex[:8]}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "penstock", "worker", *options],
                cwd=self.folder,
                env={**os.environ, **self.variables, **variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        worker = Worker(process, log)
        worker.wait_for(" ready.")
        return worker

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Nobody else who uses the installation does what has this name meanwhile."""
        with _locked(self.folder / f"{name}.lock"):
            yield

    def told(self) -> str:
        """The ends of its workers' logs."""
        logs = sorted(self.folder.glob("worker-*.log"))
        return "\n".join(f"{one.name}:\n{one.read_text(errors='replace')[-_TOLD:]}" for one in logs)


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """With one worker of the queue `penstock` (eight threads) and its watcher."""
    for service in ("postgres", "redis", "s3", "kubernetes"):
        need(service)
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with _shared(shared / "installation") as found, pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", found.variables["KUBECONFIG"])
        yield found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    found = cast("dict[str, Any]", getattr(item, "funcargs", {})).get("installation")
    if report.failed and isinstance(found, Installation):
        report.sections.append(("workers", found.told()))
    return report


@contextmanager
def _shared(folder: Path) -> Iterator[Installation]:
    """The installation of all who name this folder."""
    folder.mkdir(exist_ok=True)
    host: subprocess.Popen[bytes] | None = None
    with (folder / "users").open("w") as users:
        with _locked(folder / "lock"):
            fcntl.flock(users, fcntl.LOCK_SH)
            if not (folder / KEPT).exists():
                host = _start_host(folder)
        yield Installation(**{**json.loads((folder / KEPT).read_text()), "folder": folder})
    if host is not None:
        with suppress(subprocess.TimeoutExpired):
            host.wait(_PATIENCE)


def _start_host(folder: Path) -> subprocess.Popen[bytes]:
    log = folder / "host.log"
    with log.open("wb") as output:
        host = subprocess.Popen(
            [sys.executable, "-m", "tests.installation", folder],
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while not (folder / KEPT).exists():
        if host.poll() is not None:
            pytest.fail(f"no installation can be set up: {log.read_text(errors='replace')}", pytrace=False)
        time.sleep(_LOOK)
    return host


def host(folder: Path) -> None:
    """Set up an installation, and take it down when nobody uses it any more."""
    with (folder / "users").open("w") as users, set_up(folder) as found, found.worker():
        part = folder / f"{KEPT}.part"
        part.write_text(json.dumps({**asdict(found), "folder": str(folder)}))
        part.rename(folder / KEPT)
        fcntl.flock(users, fcntl.LOCK_EX)
        (folder / KEPT).unlink()


@contextmanager
def set_up(folder: Path) -> Iterator[Installation]:
    """An installation without a worker."""
    from tests.brokers import fresh_broker
    from tests.cluster import Cluster
    from tests.databases import Databases
    from tests.integration.s3_service import fresh_bucket

    cluster = Cluster(f"penstock-test-{uuid4().hex[:12]}")
    with ExitStack() as stack:
        databases = stack.enter_context(closing(Databases(need("postgres"))))
        database = stack.enter_context(databases.fresh())
        upkeep.upgrade(database)
        broker = stack.enter_context(fresh_broker())
        bucket = stack.enter_context(fresh_bucket())
        stack.callback(cluster.remove)
        cluster.make()
        stack.enter_context(cluster.provisioning())
        variables = {
            "PENSTOCK_HOME": str(folder / "home"),
            "PENSTOCK_DATABASE_URL": database,
            "PENSTOCK_BROKER_URL": broker,
            "PENSTOCK_PIPELINE_ROOT": bucket.uri("root"),
            "PENSTOCK_INSTALLATION": cluster.namespace,
            "PENSTOCK_KUBERNETES_NAMESPACE": cluster.namespace,
            "PENSTOCK_KUBERNETES_PULL_POLICY": "IfNotPresent",
            "PENSTOCK_KUBERNETES_IMAGE": "docker.io/library/python:3.11",
            "PENSTOCK_KUBERNETES_PULL_SECONDS": "5",
            "PENSTOCK_KUBERNETES_PENDING_SECONDS": "300",
            "KUBECONFIG": need("kubernetes"),
            **bucket.variables,
        }
        yield Installation(cluster.namespace, bucket.name, folder, variables)


@contextmanager
def _locked(place: Path) -> Iterator[IO[str]]:
    with place.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


if __name__ == "__main__":
    host(Path(sys.argv[1]))
