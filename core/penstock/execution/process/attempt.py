"""Attempts as the process launcher hands them out: one whose process runs or ran, and one that is over."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from penstock.artifacts.stores import Stores
from penstock.errors import TaskError
from penstock.execution.failpoints import failpoint
from penstock.execution.launcher import EndedAttempt
from penstock.execution.manifest import Outcome, OutputManifest
from penstock.execution.order import LaunchOrder
from penstock.execution.process.attempt_folder import AttemptFolder, Launched
from penstock.execution.process.endings import Ending, ending
from penstock.execution.process.executor_input import Places
from penstock.execution.process.log_tail import LogTail
from penstock.execution.process.process_tree import (
    LINUX,
    Found,
    ProcessTree,
    is_alive,
    open_process,
    wait_for,
)
from penstock.execution.process.sandbox import PrivateTmp
from penstock.execution.process.stage_in import needs_places, output_places, prune
from penstock.execution.process.stage_out import StageOut
from penstock.execution.process.sweeper import Sweeper
from penstock.execution.secrets.masker import NO_MASKER, Masker
from penstock.model import NOTHING, Json, Reason, Values
from penstock.planner.values import to_text

_TAIL_SECONDS = 0.1
_GRACE_SECONDS = 10.0
_LOG_SECONDS = 5.0
"""For what a process that could not be found keeps open: the log then goes without its last words."""


class ProcessAttempt:
    """An attempt whose process was started, here (`process`) or by an engine that is gone.

    Everything that decides how it ended is read from its directory, so that both cases are one.
    """

    def __init__(
        self,
        order: LaunchOrder,
        folder: AttemptFolder,
        stores: Stores,
        new_id: Callable[[], str],
        on_line: Callable[[str], None] | None = None,
        *,
        process: subprocess.Popen[bytes] | None = None,
        leader: int = 0,
        log_offset: int = 0,
        sweeper: Sweeper | None = None,
        masker: Masker = NO_MASKER,
        log_filter: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self._order = order
        self._folder = folder
        self._stores = stores
        self._new_id = new_id
        self._process = process
        self._mark = folder.mark
        leader = process.pid if process else leader
        self._handle = self._open(leader)
        trusted = process is not None or self._handle is not None
        self._tree = ProcessTree(self._mark, leader, folder.path, trusted)
        self._started = folder.started_at or time.time()
        self._tail = LogTail(folder.log, on_line, log_offset) if on_line else None
        self._manifest: OutputManifest | None = None
        self._sweeper = sweeper
        self._masker = masker
        self._filter = log_filter
        self._on_line = on_line
        self._waiting = threading.Lock()
        self._stopping = threading.Lock()

    def wait(self, timeout: float | None = None) -> OutputManifest | None:
        until = None if timeout is None else time.monotonic() + timeout
        if not self._waiting.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
            return None
        try:
            if self._manifest is None:
                if not self._await_end(until):
                    return None
                self._manifest = self._finish()
            return self._manifest
        finally:
            self._waiting.release()

    def stop(self, grace: float = _GRACE_SECONDS) -> None:
        self._stop(Outcome.CANCELED, grace)

    def release(self) -> None:
        """What stays of the folder, retention removes with its run: after a failure all of it."""
        sweeper, self._sweeper = self._sweeper, None
        if sweeper is not None and self._manifest and self._manifest.outcome is Outcome.SUCCEEDED:
            sweeper.sweep(self._folder)

    def _open(self, leader: int) -> int | None:
        """Watch the leader. None for one that is gone, and where the system has no such thing as a pidfd."""
        if self._process is None and not is_alive(self._mark, leader):
            return None
        return open_process(leader)

    def _await_end(self, until: float | None) -> bool:
        due = None
        if self._order.timeout is not None:
            due = time.monotonic() + self._order.timeout - (time.time() - self._started)
        while True:
            now = time.monotonic()
            if due is not None and now >= due:
                due = None
                self._stop(Outcome.FAILED, _GRACE_SECONDS)
            waits = [one - now for one in (until, due) if one is not None]
            if self._tail is not None:
                waits.append(_TAIL_SECONDS)
            if self._ended(max(0.0, min(waits)) if waits else None):
                return True
            if self._tail is not None:
                self._tail.read()
            if until is not None and time.monotonic() >= until:
                return False

    def _ended(self, timeout: float | None) -> bool:
        """Whether the leader ended within `timeout` seconds."""
        if self._handle is not None:
            return wait_for(self._handle, timeout)
        if self._process is not None:
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                return False
            return True
        if not self._locked():
            return True
        time.sleep(min(0.05, timeout if timeout is not None else 0.05))
        return not self._locked()

    def _locked(self) -> bool:
        """Whether an adopted attempt runs, where no process can be watched."""
        if self._handle is None and _is_gone(self._mark, self._tree.leader):
            return False
        if self._folder.exit_code is not None:
            return False
        handle = self._folder.try_lock()
        if handle is None:
            return True
        os.close(handle)
        return False

    def _stop(self, outcome: Outcome, grace: float) -> None:
        with self._stopping:
            if self._manifest is not None or self._folder.exit_code is not None:
                return
            self._folder.mark_stopped(outcome)
            if grace <= 0:
                self._tree.signal(signal.SIGKILL)
                return
            self._tree.signal(signal.SIGTERM)
        timer = threading.Timer(grace, self._force)
        timer.daemon = True
        timer.start()

    def _force(self) -> None:
        if self._manifest is None and self._folder.exit_code is None:
            self._tree.signal(signal.SIGKILL)

    def _finish(self) -> OutputManifest:
        code = self._folder.exit_code
        if self._process is not None:
            status = self._process.wait()
            if code is None and self._folder.stopped is None and status != 0:
                # We saw it die, so nothing is lost; 125 is that the mounts of its /tmp failed.
                code = 128 - status if status < 0 else status
        failpoint("attempt.ended")
        left = self._end_stragglers()
        self._end_log()
        launched = self._folder.launched or Launched("")
        # Before our own line is the last of the log, which an error quotes.
        ended = ending(self._order, self._folder, code, launched.notes.get("program", ""))
        if left:
            self._folder.note(left)
        if self._tail is not None:
            self._tail.read(last=True)
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
        with self._folder.staging():
            found = self._folder.manifest
            if found is not None:
                return found
            manifest = self._judge(code, launched, ended, left)
            failpoint("manifest.before")
            self._folder.write_manifest(manifest)
        failpoint("manifest.written")
        if launched.temporary:
            Path(launched.temporary).unlink(missing_ok=True)
        if launched.secrets:
            self._folder.clear_secrets()
        return manifest

    def _end_log(self) -> None:
        self._folder.await_log(_LOG_SECONDS)
        self._folder.pipe.unlink(missing_ok=True)
        if self._filter is not None:
            with suppress(subprocess.TimeoutExpired):
                self._filter.wait(1.0)

    def _end_stragglers(self) -> str:
        """What is to be said of processes that the task left behind, which are killed."""
        found = self._tree.left_behind(time.time() - self._started)
        if found:
            if self._folder.stopped is None:
                # Before they are gone: the next engine would not know of them.
                self._folder.mark_left(_sentence(found))
            self._tree.kill()
        return self._folder.left

    def _judge(self, code: int | None, launched: Launched, found: Ending, left: str) -> OutputManifest:
        notes = dict(launched.notes)
        if left:
            notes["left_behind"] = left
        places = output_places(self._order, self._folder, self._stores, {})
        values = NOTHING
        if found.outcome is Outcome.SUCCEEDED:
            try:
                values = self._stage_out(launched, places, notes)
            except TaskError as problem:
                found = Ending(Outcome.FAILED, Reason.OUTPUT, str(problem))
            except OSError as problem:
                found = Ending(Outcome.FAILED, Reason.OUTPUT, f"the outputs cannot be kept: {problem}")
        if found.outcome is not Outcome.SUCCEEDED:
            discard(self._order, self._stores)
        if needs_places(self._order):
            prune(places)
        if exposed := sorted(name for name, value in values.parameters.items() if self._shows(value)):
            notes["secrets_put_out"] = ", ".join(exposed)
            self._folder.note(f"recorded as they stand, with a secret in them: {notes['secrets_put_out']}")
        return OutputManifest(
            attempt_id=self._order.attempt_id,
            outcome=found.outcome,
            exit_code=code,
            reason=found.reason,
            error=self._masker.text("; ".join(one for one in (found.error, left) if one)),
            parameters=values.parameters,
            artifacts=values.artifacts,
            log=str(self._folder.log),
            started_at=self._started,
            ended_at=max(self._started, self._folder.ended_at or time.time()),
            notes=notes,
        )

    def _tell(self, sentence: str) -> None:
        """In the log, and to who follows it: the last of what the task itself wrote has been read by now."""
        self._folder.note(sentence)
        if self._on_line is not None:
            self._on_line(f"penstock: {sentence}")

    def _shows(self, value: Json) -> bool:
        return bool(self._masker) and self._masker.found_in(to_text(value))

    def _stage_out(self, launched: Launched, places: Places, notes: dict[str, str]) -> Values:
        tmp = PrivateTmp(Path(launched.tmp), tuple(map(Path, launched.shared))) if launched.tmp else None
        out = StageOut(
            self._order,
            self._folder,
            places,
            self._stores,
            host_path=tmp.host_path if tmp else lambda path: path,
            new_id=self._new_id,
            tell=self._tell,
        )
        values = out.run()
        notes |= out.notes
        return values


def _sentence(left: list[Found]) -> str:
    names = ", ".join(sorted({one.name for one in left}))
    count, were = ("1 process", "was") if len(left) == 1 else (f"{len(left)} processes", "were")
    return f"{count} ({names}) still ran when the task's own had ended, and {were} killed"


def _is_gone(mark: str, leader: int) -> bool:
    return LINUX and not is_alive(mark, leader)


def discard(order: LaunchOrder, stores: Stores) -> None:
    """Remove what an attempt that did not succeed left among the artifacts; they are recorded nowhere."""
    last = order.task_uri.rstrip("/").rpartition("/")[2]
    store = stores.find(order.task_uri)
    if store is None or last != order.attempt_id:
        return
    try:
        store.delete(order.task_uri)
    except TaskError:
        return


def unstarted(
    order: LaunchOrder, folder: AttemptFolder, problem: str, reason: Reason, outcome: Outcome = Outcome.FAILED
) -> EndedAttempt:
    """The attempt that could not be started; recorded, so that asking again gives the same answer."""
    now = time.time()
    manifest = OutputManifest(
        order.attempt_id,
        outcome,
        reason=reason,
        error=problem,
        log=str(folder.log),
        started_at=now,
        ended_at=now,
    )
    folder.note(problem)
    folder.write_manifest(manifest)
    return EndedAttempt(replace(manifest))
