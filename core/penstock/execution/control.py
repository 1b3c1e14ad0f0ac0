"""*Prepare* and *publish*: what a scheduler asks before and after it launches an attempt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from penstock.execution.manifest import OutputManifest
from penstock.execution.order import LaunchOrder
from penstock.model import TaskRun


@dataclass(frozen=True, slots=True)
class Step:
    """What a verb recorded, and what is to be done next. Everything in it is in the store already: a lost
    Step costs nothing.

    `order` is to be launched (`adopted`: an attempt that was started before). `wait` names upstream tasks
    that have not ended. `changes` are the records written, `following` the leaf tasks worth a verdict now,
    and `again` the paths worth one later, with the time (seconds since the epoch).
    """

    order: LaunchOrder | None = None
    adopted: bool = False
    wait: tuple[str, ...] = ()
    changes: tuple[TaskRun, ...] = ()
    following: tuple[str, ...] = ()
    again: tuple[tuple[str, float], ...] = ()


class Control(Protocol):
    """The two verbs that touch the record; *launch* between them is the launcher's. Loops and nested
    pipelines that follow are judged in the same breath: nobody else is needed for them.
    """

    def prepare(self, run_id: str, path: str) -> Step:
        """Judge the task, and claim an attempt of it if it is to be launched. Raises NotFoundError."""
        ...

    def publish(self, run_id: str, path: str, manifest: OutputManifest, *, retry: bool | None = None) -> Step:
        """Record how an attempt ended. For an attempt that was published before, or was superseded, it does
        nothing.

        `retry` is whether a scheduler that retries by itself will ask for the task again after a failure;
        None where the task's own policy says so.
        """
        ...
