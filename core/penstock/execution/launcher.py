"""The launcher seam: who runs one attempt. The process launcher is ours; Kubernetes' lives with the
workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from penstock.execution.manifest import OutputManifest
from penstock.execution.order import LaunchOrder
from penstock.model import Executor, Json


class Attempt(Protocol):
    """A started attempt."""

    def wait(self, timeout: float | None = None) -> OutputManifest | None:
        """The manifest once the attempt has ended and its outputs are staged out; None after `timeout`
        seconds.
        """
        ...

    def stop(self, grace: float = 10.0) -> None:
        """Ask all processes of the attempt to end, and force them after `grace` seconds. Idempotent; does not
        wait.
        """
        ...


class Launcher(Protocol):
    """Starts attempts. Found through the entry-point group `penstock.launchers`."""

    name: str

    def isolation(self, executor: Executor, platform: Mapping[str, Json]) -> str:
        """The isolation class that is part of the cache key: which Python, process or image would run this.

        `platform` is the executor's Kubernetes configuration.

        Raises TaskError (one sentence, naming what could run it) when this launcher refuses the executor.
        """
        ...

    def start(self, order: LaunchOrder, on_line: Callable[[str], None] | None = None) -> Attempt:
        """Stage in and start the attempt; if `order.attempt_id` was started before, adopt it, alive or ended.

        `on_line` receives each line of the log as it is written, without its newline.
        """
        ...

    def log(self, run_id: str, attempt_id: str, follow: bool = False) -> Iterator[str]:
        """The attempt's log lines so far; with `follow`, until the attempt ends."""
        ...
