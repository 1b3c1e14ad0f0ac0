"""`penstock worker` and `penstock watcher`. Celery is loaded when one of them runs."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from typing import Annotated, Final

import typer

from penstock.errors import InvalidInputError
from penstock.execution.options import RunOptions
from penstock.execution.secrets.known import KNOWN
from penstock.execution.settings import load_settings
from penstock.execution.workspace import Workspace

_POOLS: Final = ("threads", "prefork")
_LEVELS: Final = ("debug", "info", "warning", "error")

LogLevel = Annotated[str, typer.Option("--log-level", "-l", help=f"{', '.join(_LEVELS)}.")]


def worker(
    concurrency: Annotated[
        int, typer.Option("--concurrency", "-c", min=1, help="How many runs to drive at once.")
    ] = 8,
    queue: Annotated[
        list[str] | None, typer.Option("--queue", "-Q", help="A queue to serve; may be repeated.")
    ] = None,
    pool: Annotated[str, typer.Option("--pool", "-P", help="threads, or prefork (processes).")] = "threads",
    watcher: Annotated[
        bool, typer.Option("--watcher/--no-watcher", help="Keep a watcher beside the worker.")
    ] = True,
    log_level: LogLevel = "info",
) -> None:
    """Drive runs that were started with --on celery."""
    from penstock_workers.engine.engine import CeleryEngine
    from penstock_workers.engine.opening import Opener, launcher_name, remote_launcher
    from penstock_workers.engine.serving import Steppers
    from penstock_workers.engine.supervising import WatcherProcess

    if pool not in _POOLS:
        raise InvalidInputError(f"--pool must be one of {', '.join(_POOLS)}, not '{pool}'")
    _log(log_level)
    with Workspace(load_settings()) as workspace:
        name = launcher_name(workspace.settings)
        engine = CeleryEngine(workspace)
        engine.check(workspace.settings.pipeline_root, name)
        remote_launcher(workspace, RunOptions(launcher=name)).close()
        Opener(workspace).close()
        workspace.store.agenda.late(CeleryEngine.name, 0.0, limit=1)
    steppers = Steppers(workspace.settings, engine.broker)
    child = WatcherProcess(log_level) if watcher else None
    try:
        engine.broker.serve(
            steppers.advance, pool=pool, concurrency=concurrency, queues=queue or [], log_level=log_level
        )
    finally:
        steppers.close()
        if child is not None:
            child.stop()


def watcher(
    log_level: LogLevel = "info",
    child: Annotated[
        bool,
        typer.Option("--child", hidden=True, help="End with standard input."),
    ] = False,
) -> None:
    """Watch the pods of runs on workers; of several one is at work, and the others are ready to take over."""
    from penstock_workers.engine.broker import Broker
    from penstock_workers.engine.keeper import Keeper

    _log(log_level)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: stopped.set())
    if child:
        threading.Thread(target=_end_with_parent, args=(stopped,), daemon=True).start()
    with Workspace(load_settings()) as workspace:
        Keeper(workspace, Broker(workspace.settings)).run(stopped)


def _end_with_parent(stopped: threading.Event) -> None:
    # Not by the buffer of sys.stdin, whose lock is needed when this process ends.
    while os.read(sys.stdin.fileno(), 1):
        pass
    stopped.set()


def _log(level: str) -> None:
    if level not in _LEVELS:
        raise InvalidInputError(f"--log-level must be one of {', '.join(_LEVELS)}, not '{level}'")
    handler = logging.StreamHandler()
    handler.addFilter(KNOWN)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler])
