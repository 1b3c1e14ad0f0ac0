"""What a launcher is asked, and answers, whatever goes wrong in it."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from penstock.errors import PenstockError, StoreError, TaskError
from penstock.execution.manifest import Outcome, OutputManifest
from penstock.execution.order import LaunchOrder
from penstock.execution.secrets.known import KNOWN
from penstock.execution.tracker import Tracker
from penstock.model import JsonObject, Reason
from penstock_workers.remote import RemoteLauncher, Waits

Answer: TypeAlias = OutputManifest | Waits | None
"""The end of an attempt; why it cannot be told yet; or that it goes on."""

STOP_GRACE_SECONDS: Final = 10.0
_UNREACHED_SECONDS: Final = (1.0, 4.0)
"""Between these, by chance, what did not answer is asked again."""

logger = logging.getLogger(__name__)
logger.addFilter(KNOWN)


@dataclass(frozen=True, slots=True)
class Asking:
    """Gives questions, each to be called once, by any thread."""

    launcher: RemoteLauncher
    tracker: Tracker | None = None

    def launch(self, order: LaunchOrder) -> Callable[[], Answer]:
        def ask() -> Answer:
            if self.tracker is None:
                return self.launcher.launch(order)
            return self.launcher.launch(replace(order, environment=self.tracker.environment(order)))

        return lambda: _answer(order, ask)

    def collect(self, order: LaunchOrder, saw: JsonObject) -> Callable[[], Answer]:
        return lambda: _answer(order, lambda: self.launcher.collect(order, saw))

    def end(self, order: LaunchOrder) -> Callable[[], Answer]:
        """What was never started is answered with its end."""

        def ask() -> Answer:
            return None if self.launcher.end(order, STOP_GRACE_SECONDS) else _never_started(order)

        return lambda: _answer(order, ask)

    def forget(self, order: LaunchOrder, manifest: OutputManifest) -> None:
        self.launcher.forget(order, manifest)


def _answer(order: LaunchOrder, ask: Callable[[], Answer]) -> Answer:
    try:
        return ask()
    except TaskError as error:
        text = str(error)
    except StoreError:
        raise
    except (PenstockError, OSError) as error:
        return Waits(str(error), random.uniform(*_UNREACHED_SECONDS), silence=True)
    except Exception as error:
        logger.exception("attempt %s of task %s broke penstock", order.attempt_id, order.path)
        text = KNOWN.mask(f"penstock failed while it ran this task: {type(error).__name__}: {error}")
    return _failed(order, text)


def given_up(order: LaunchOrder, waits: Waits, seconds: float) -> OutputManifest:
    """The end of an attempt that waited in vain for an answer."""
    return _failed(order, f"task '{order.task_name}' was given up after {seconds:.0f} s: {waits.why}")


def _failed(order: LaunchOrder, error: str) -> OutputManifest:
    return OutputManifest(
        order.attempt_id, Outcome.FAILED, reason=Reason.REFUSED, error=error, ended_at=time.time()
    )


def _never_started(order: LaunchOrder) -> OutputManifest:
    return OutputManifest(
        order.attempt_id,
        Outcome.CANCELED,
        reason=Reason.CANCELED,
        error=f"task '{order.task_name}' was canceled before it started",
        ended_at=time.time(),
    )
