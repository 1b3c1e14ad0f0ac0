"""A run whose tasks are those of a scheduler, which orders them itself: what these tasks ask.

The scheduler starts a task when those before it have ended, however they did. So whoever asks here knows that
what stands before its task will do nothing more; where that left no end in the record (its process was
killed, somebody marked it by hand), it is given one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, cast

from penstock.execution.control import Step
from penstock.execution.launcher import Launcher
from penstock.execution.local_control import LocalControl
from penstock.model import ROOT, State, TaskKind, TaskRun
from penstock.model import path as paths
from penstock.planner.settle import CONTAINERS
from penstock.planner.verdict import kind_of

STOP_GRACE_SECONDS: Final = 10.0
UNENDED: Final = "its task in the scheduler ended without telling how"


@dataclass(frozen=True, slots=True)
class NativeRun:
    """One run, whose record others change at the same time. The control is not exclusive."""

    control: LocalControl
    launcher: Launcher
    run_id: str

    def prepare(self, path: str) -> Step:
        """The verdict on the task at `path`, and on the loops and nested pipelines around it.

        `wait` names a loop that has no room for this iteration yet. A Step without an order: see `record`.
        """
        step = Step()
        for place in (*self._around(path), path):
            step = self._judge(place)
            if step.wait:
                return step
            found = self.record(place)
            if found is None or (found.state.ended and place != path):
                return Step()
        return step

    def record(self, path: str) -> TaskRun | None:
        """None for a task in a part of the pipeline that was skipped."""
        return self.control.record(self.run_id, path)

    def end(self, path: str = ROOT) -> None:
        """Nothing at or below `path` will be run any more: what has no end gets one, and what runs of it is
        stopped.
        """
        record = self.record(path)
        if record is not None and record.state.ended:
            return
        if kind_of(self.control.session(self.run_id).ledger, path) not in CONTAINERS:
            self._end_leaf(path, record)
            return
        if path != ROOT:
            self._judge(path, patient=False)
        # A nested pipeline that fails may begin anew, as often as it is to be retried.
        while self._is_open(path):
            for child in self._children(path):
                self.end(child)

    def _is_open(self, path: str) -> bool:
        record = self.record(path)
        return record is not None and not record.state.ended

    def _judge(self, path: str, *, patient: bool = True) -> Step:
        """With what it waits for ended, except a loop that it may wait for."""
        while True:
            step = self.control.prepare(self.run_id, path)
            if not step.wait or (patient and step.wait == (paths.container(path),)):
                return step
            for upstream in step.wait:
                self.end(upstream)

    def _end_leaf(self, path: str, record: TaskRun | None) -> None:
        if record is not None and record.state is State.RUNNING:
            order = self.control.prepare(self.run_id, path).order
            if order is not None:
                attempt = self.launcher.start(order)
                attempt.stop(STOP_GRACE_SECONDS)
                manifest = attempt.wait()
                assert manifest is not None
                self.control.publish(self.run_id, path, manifest, retry=False)
                attempt.release()
        while (step := self.control.abandon(self.run_id, path, UNENDED)).wait:
            for upstream in step.wait:
                self.end(upstream)

    def _children(self, path: str) -> Iterator[str]:
        record = self.record(path)
        if record is not None and record.kind is TaskKind.LOOP:
            for index in range(cast("int", record.iterations)):
                yield paths.iteration(path, index)
            return
        dag = self.control.session(self.run_id).ledger.place(path).component.dag
        for name in dag.tasks if dag is not None else ():
            yield paths.child(path, name)

    @staticmethod
    def _around(path: str) -> list[str]:
        return [one for one in reversed(paths.ancestors(path)) if one != ROOT]
