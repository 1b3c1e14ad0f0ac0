"""The tracker seam: a system that keeps records of runs beside the store, such as MLflow.

What it is told is what the store has: it reads the record of a run later, and as often as it needs to. So the
engine waits for it nowhere but for a moment before a task is launched, and a run ends the same whether that
system answers or not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Final, Protocol

from penstock.execution.order import LaunchOrder

GROUP: Final = "penstock.sinks"


class Tracker(Protocol):
    """Found through the entry-point group, and only where a setting asks for one."""

    def begun(self, run_id: str) -> None:
        """The run begins, begins again or is resumed: within that transaction, leave a message for whoever
        delivers. From then on all that happens in the run is to be delivered, until the run has ended.
        """
        ...

    def following(self, run_id: str, warn: Callable[[str], None]) -> AbstractContextManager[None]:
        """Deliver what is recorded of the run while the context lasts, and what is left at its end for a few
        seconds at most. `warn` gets a sentence when something stays undelivered. Raises nothing.
        """
        ...

    def environment(self, order: LaunchOrder) -> Mapping[str, str]:
        """Variables for the attempt about to be launched, so that the task's own code finds its record.

        Called by any thread; takes a few seconds at most, and no time once the system is known not to answer.
        Raises nothing.
        """
        ...

    def catch_up(self, enough: Callable[[], bool]) -> None:
        """Deliver what is recorded of runs that nobody follows, until it is done or `enough` says so. For a
        process that does so again and again. Raises nothing.
        """
        ...
