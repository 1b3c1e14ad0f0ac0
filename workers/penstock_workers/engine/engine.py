"""`--on celery`: a run is put on the agenda, and workers take it from there."""

from __future__ import annotations

from typing import Final

from penstock.errors import InvalidInputError
from penstock.execution.launcher import find_launcher
from penstock.execution.process.launcher import ProcessLauncher
from penstock.execution.workspace import Workspace
from penstock.store import RunRecord
from penstock_workers.engine.broker import Broker
from penstock_workers.engine.reminding import hurry

ENGINE: Final = "celery"


def needs_a_waiter(launcher: str) -> InvalidInputError:
    return InvalidInputError(
        f"launcher '{launcher}' cannot be used by engine 'celery': its tasks need somebody who waits for "
        "them; run with --launcher kubernetes"
    )


class CeleryEngine:
    name = ENGINE
    launcher = "kubernetes"

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.broker = Broker(workspace.settings)

    def check(self, pipeline_root: str, launcher: str) -> None:
        settings = self._workspace.settings
        if settings.database_url.startswith("sqlite"):
            raise InvalidInputError(
                "engine 'celery' needs a database that all workers reach, and SQLite is a file on this "
                "machine: set PENSTOCK_DATABASE_URL to postgresql://user:password@host/database"
            )
        if "://" not in pipeline_root or pipeline_root.startswith("file://"):
            raise InvalidInputError(
                f"engine 'celery' needs a pipeline root that all workers and pods reach, and {pipeline_root} "
                "is a folder on this machine: set PENSTOCK_PIPELINE_ROOT to s3://bucket/prefix"
            )
        if launcher == ProcessLauncher.name:
            raise needs_a_waiter(launcher)
        find_launcher(self._workspace.settings.of_launcher(launcher)[0])
        self.broker.check()

    def start(self, run: RunRecord) -> None:
        store = self._workspace.store
        store.agenda.wake(run.id)
        hurry(store, self.broker, run.id)


def open_celery(workspace: Workspace) -> CeleryEngine:
    """The factory of the entry point. Raises InvalidInputError when no broker is named."""
    return CeleryEngine(workspace)
