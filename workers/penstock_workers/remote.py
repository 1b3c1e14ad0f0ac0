"""The seam between the Celery engine and what runs its attempts: attempts that go on without whoever
started them, and whose ends a watcher sees.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from penstock.execution.launcher import Launcher
from penstock.execution.manifest import OutputManifest
from penstock.execution.order import LaunchOrder
from penstock.model import Json


@dataclass(frozen=True, slots=True)
class Waits:
    """An attempt that cannot be started yet: why, in one sentence, and when to try again (in seconds).

    `silence`: what has to be asked does not answer.
    """

    why: str
    seconds: float = 1.0
    silence: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """What a watcher saw of an attempt.

    Once it has `ended`, `what` is all of it that `collect` needs (plain JSON). Before that `why` says in one
    sentence what it waits for; empty once it runs.
    """

    run_id: str
    attempt_id: str
    ended: bool
    why: str = ""
    what: Mapping[str, Json] = field(default_factory=dict[str, Json])


@runtime_checkable
class RemoteLauncher(Launcher, Protocol):
    """A launcher whose attempts need nobody who waits for them. Safe for use by several threads at once.

    All of it is idempotent: whoever does a thing again, from whatever machine, changes nothing.
    """

    def launch(self, order: LaunchOrder) -> OutputManifest | Waits | None:
        """Start the attempt, or find it started: None. Its manifest where it has ended with that (an import,
        a refusal).

        Raises LauncherError when what it stands on cannot be asked: try again later.
        """
        ...

    def collect(self, order: LaunchOrder, what: Mapping[str, Json]) -> OutputManifest:
        """The manifest of an attempt that was seen to have ended; its log and outputs are kept by then.

        Raises LauncherError when they cannot be reached: try again later.
        """
        ...

    def end(self, order: LaunchOrder, grace: float) -> bool:
        """Ask the attempt to end, and force it after `grace` seconds; does not wait. False when there is
        nothing of it: it was never started. Raises LauncherError.
        """
        ...

    def forget(self, order: LaunchOrder, manifest: OutputManifest) -> None:
        """The manifest has been published: what only the attempt needed may go. Never raises."""
        ...

    def watch(self, on_seen: Callable[[Seen], None], stopped: threading.Event) -> None:
        """Tell of all attempts of this installation, until `stopped`: of each end at least once, and of each
        change of what one waits for. What had happened before is told first. `on_seen` may be called from
        several threads; when it raises, the attempt is told of again later.
        """
        ...

    def reap(self, lives: Callable[[str, str], bool]) -> int:
        """Remove what is left of attempts (run id, attempt id) that do not live any more, if it is not to be
        kept; how many. Raises LauncherError.
        """
        ...
