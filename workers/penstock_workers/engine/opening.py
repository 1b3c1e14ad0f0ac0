"""What a worker needs to drive a run, from its record and the settings."""

from __future__ import annotations

import logging
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from penstock.errors import InvalidInputError
from penstock.execution.local_control import LocalControl
from penstock.execution.options import RunOptions
from penstock.execution.process.launcher import ProcessLauncher
from penstock.execution.settings import Settings
from penstock.execution.workspace import Workspace
from penstock.store import RunRecord
from penstock_workers.engine.asking import Asking
from penstock_workers.engine.drive import Drive, Limits
from penstock_workers.engine.engine import CeleryEngine, needs_a_waiter
from penstock_workers.remote import RemoteLauncher

PARALLEL: Final = 10
"""Attempts of a run at once, where nobody says how many."""
_THREADS: Final = 8

logger = logging.getLogger(__name__)


class Opener:
    """Safe for use by several threads at once."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._total = _number(workspace.settings, "max_pods")
        self._patience = _number(workspace.settings, "give_up_seconds") or math.inf
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="penstock-ask")
        self._launchers: dict[tuple[str, str], RemoteLauncher] = {}
        self._lock = threading.Lock()

    def open(self, run_id: str) -> Drive:
        """Raises NotFoundError, and InvalidInputError where the run cannot be driven from here."""
        workspace = self._workspace
        run = workspace.store.runs.get(run_id)
        options = RunOptions.from_json(run.options)
        with self._lock:
            launcher = self._launcher(run, options)
            tracker = workspace.tracker(logger.warning)
            owner = workspace.owner.name
        control = LocalControl(
            workspace.store, launcher, workspace.contents.readable, owner, exclusive=True, tracker=tracker
        )
        if not run.revision:
            control.look(run_id)
        settings = workspace.settings
        default = PARALLEL if settings.origins["parallel"] == "default" else settings.parallel
        limits = Limits(options.parallel or default, self._total, self._patience)
        return Drive(workspace.store, control, run_id, limits, Asking(launcher, tracker), self._threads)

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        for launcher in self._launchers.values():
            launcher.close()

    def _launcher(self, run: RunRecord, options: RunOptions) -> RemoteLauncher:
        """One for all runs that have the same pipeline root."""
        key = (options.launcher, run.pipeline_root)
        found = self._launchers.get(key)
        if found is None:
            found = self._launchers[key] = remote_launcher(self._workspace, options, run.pipeline_root)
        return found


def launcher_name(settings: Settings) -> str:
    """Of runs, and watchers, for which nobody says which."""
    return CeleryEngine.launcher if settings.launcher == ProcessLauncher.name else settings.launcher


def launcher_names(settings: Settings) -> list[str]:
    """Of all that runs here may name."""
    return sorted({launcher_name(settings), *settings.launchers})


def remote_launcher(workspace: Workspace, options: RunOptions, pipeline_root: str = "") -> RemoteLauncher:
    """Raises InvalidInputError for one whose attempts need somebody who waits for them."""
    opened = workspace.launcher(options, pipeline_root)
    if isinstance(opened, RemoteLauncher):
        return opened
    opened.close()
    raise needs_a_waiter(opened.name)


def _number(settings: Settings, name: str) -> int:
    text = settings.foreign[name]
    if not text.isdecimal():
        raise InvalidInputError(f"{name} must be a number from 0, not '{text}'")
    return int(text)
