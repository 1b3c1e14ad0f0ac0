"""A launcher that starts nothing, for the engine: what each task does is a function of its order."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from penstock.execution.embedded import EmbeddedEngine
from penstock.execution.launcher import Attempt, EndedAttempt
from penstock.execution.local_control import LocalControl
from penstock.execution.manifest import Outcome, OutputManifest
from penstock.execution.order import LaunchOrder
from penstock.model import Json, TaskRun
from penstock.store import Store
from tests.unit.execution.idle_launcher import IdleLauncher

Deed = Callable[["FakeAttempt"], OutputManifest | None]


@dataclass
class FakeAttempt:
    """Ends when its deed has a manifest, or when it is stopped; if `stubborn`, only when it is killed."""

    order: LaunchOrder
    deed: Deed
    on_line: Callable[[str], None] | None
    stubborn: bool = False
    stopped: threading.Event = field(default_factory=threading.Event)
    graces: list[float] = field(default_factory=list[float])

    def wait(self, timeout: float | None = None) -> OutputManifest | None:
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            found = self.deed(self)
            if found is not None:
                return found
            if self.stopped.wait(0.005):
                return OutputManifest(self.order.attempt_id, Outcome.CANCELED, error="stopped")
            if until is not None and time.monotonic() > until:
                return None

    def stop(self, grace: float = 10.0) -> None:
        self.graces.append(grace)
        if grace == 0 or not self.stubborn:
            self.stopped.set()

    def release(self) -> None:
        return


def succeed(attempt: FakeAttempt, **outputs: Json) -> OutputManifest:
    return OutputManifest(attempt.order.attempt_id, Outcome.SUCCEEDED, exit_code=0, parameters=outputs)


def fail(attempt: FakeAttempt) -> OutputManifest:
    return OutputManifest(attempt.order.attempt_id, Outcome.FAILED, exit_code=1, error="boom")


def until(event: threading.Event) -> Deed:
    """Runs until the event happens."""
    return lambda attempt: succeed(attempt) if event.is_set() else None


class FakeLauncher(IdleLauncher):
    """`deeds` by task name; every other task succeeds at once. `starts` counts by path. Those named `slow`
    take for ever to start, and set `preparing`.
    """

    name = "fake"

    def __init__(
        self, deeds: Mapping[str, Deed] | None = None, *, stubborn: bool = False, slow: Sequence[str] = ()
    ) -> None:
        self.deeds = deeds or {}
        self.slow = slow
        self.preparing = threading.Event()
        self.stubborn = stubborn
        self.starts: Counter[str] = Counter()
        self.attempts: dict[str, FakeAttempt] = {}
        self.started = threading.Condition()

    def start(
        self,
        order: LaunchOrder,
        on_line: Callable[[str], None] | None = None,
        canceled: Callable[[], bool] | None = None,
    ) -> Attempt:
        while order.task_name in self.slow and canceled is not None:
            if canceled():
                return EndedAttempt(OutputManifest(order.attempt_id, Outcome.CANCELED, error="not begun"))
            self.preparing.set()
            time.sleep(0.005)
        with self.started:
            found = self.attempts.get(order.attempt_id)
            if found is None:
                found = FakeAttempt(order, self.deeds.get(order.task_name, succeed), on_line, self.stubborn)
                self.attempts[order.attempt_id] = found
                self.starts[order.path] += 1
                self.started.notify_all()
            return found

    def wait_for(self, count: int) -> None:
        """Until so many attempts have been started."""
        with self.started:
            assert self.started.wait_for(lambda: len(self.attempts) >= count, 30), "the run does not get on"


def engine(
    store: Store,
    launcher: FakeLauncher,
    *,
    parallel: int = 4,
    owner: str = "a test",
    on_change: Callable[[TaskRun], None] | None = None,
    on_line: Callable[[str, str], None] | None = None,
    on_notice: Callable[[str], None] = print,
) -> EmbeddedEngine:
    control = LocalControl(store, launcher, lambda values: True, owner, exclusive=True)
    return EmbeddedEngine(
        store,
        control,
        launcher,
        owner,
        parallel=parallel,
        on_change=on_change,
        on_line=on_line,
        on_notice=on_notice,
    )
