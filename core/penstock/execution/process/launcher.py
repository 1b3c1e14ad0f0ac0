"""The process launcher: an attempt is a process of this machine, in a directory of its own.

It outlives the engine that started it. Whoever starts the same attempt again finds it by the lock that its
processes hold, and by what they left when they ended.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from penstock.artifacts import ArtifactStore
from penstock.artifacts.copies import Copies
from penstock.artifacts.stores import Stores
from penstock.errors import NotFoundError, PenstockError, TaskError
from penstock.execution.environments.cache import Environments
from penstock.execution.environments.environment import BuildCanceledError
from penstock.execution.environments.images import ImageRefusedError
from penstock.execution.failpoints import failpoint
from penstock.execution.launcher import Account, Attempt, EndedAttempt
from penstock.execution.manifest import Outcome, OutputManifest
from penstock.execution.order import LaunchOrder
from penstock.execution.platform import (
    EMULATED,
    PlatformRefusedError,
    StandIn,
    check_platform,
    mount_point,
    stand_in,
)
from penstock.execution.process.arguments import check
from penstock.execution.process.attempt import ProcessAttempt, discard, unstarted
from penstock.execution.process.attempt_folder import AttemptFolder, Launched, order_digest
from penstock.execution.process.importer import run_importer
from penstock.execution.process.log_filter import log_filter
from penstock.execution.process.log_tail import LogTail
from penstock.execution.process.process_tree import is_alive
from penstock.execution.process.program import Program, Programs, RefusedError, with_stand_in
from penstock.execution.process.sandbox import Means, MemoryMount, Mount, means, private_tmp, spawn
from penstock.execution.process.stage_in import stage_in
from penstock.execution.process.sweeper import Sweeper
from penstock.execution.process.task_environment import handed_on
from penstock.execution.secrets.forms import environment_secrets, masker_of
from penstock.execution.secrets.known import KNOWN
from penstock.execution.secrets.masker import NO_MASKER, Masker
from penstock.execution.secrets.need import needs
from penstock.execution.secrets.provider import SecretError
from penstock.execution.secrets.resolver import NOTHING_HANDED, Handed, Secrets
from penstock.execution.task_credentials import NO_CREDENTIALS, TaskCredentials
from penstock.execution.volumes import is_volume_task, run_volume_task
from penstock.model import Component, ContainerExecutor, Executor, ImporterExecutor, Json, Reason
from penstock.store import new_id

# Written by the leader itself, so that they are there also when the engine dies right after starting it.
# Signals that are caught, unlike ignored ones, are the default again in the command; and the shell lives to
# see its end.
_WRAPPER: Final = """\
echo $$ >"$1/pid" || exit 125
trap : HUP INT TERM
cd "$1/work" || exit 125
folder=$1
shift
"$@"
code=$?
echo $code >"$folder/exit"
exit $code
"""

_POLL_SECONDS = 0.02
_LONGEST_TMP = 60
"""Characters of a TMPDIR that leave room for the sockets that programs make below it (108 in all)."""


class ProcessLauncher:
    """`home` holds the attempts. `pass_env` names variables of the caller that tasks get too. `stores` are
    also for inputs from elsewhere, `copies` keeps what tasks read from S3, and with `credentials` their own
    code reaches it.
    """

    name = "process"
    emulated = EMULATED

    def __init__(
        self,
        home: Path,
        store: ArtifactStore,
        environments: Environments,
        *,
        strict_images: bool = False,
        private_tmp: bool = True,
        pass_env: Sequence[str] = (),
        secrets: Secrets | None = None,
        stores: Stores | None = None,
        copies: Copies | None = None,
        credentials: TaskCredentials = NO_CREDENTIALS,
    ) -> None:
        self._home = Path(os.path.abspath(home))
        self.secrets = secrets or Secrets({}, self._home / "secrets")
        self._pass_env = tuple(pass_env)
        self._stores = stores or Stores(store)
        self._copies = copies
        self._credentials = credentials
        self._programs = Programs(environments, strict_images, self._pass_env)
        self._private_tmp = private_tmp
        self._sweeper = Sweeper()

    def isolation(self, executor: Executor, platform: Mapping[str, Json]) -> str:
        check_platform(platform)
        return (
            "process:host" if isinstance(executor, ImporterExecutor) else self._programs.isolation(executor)
        )

    def account(
        self, component: Component, executor: Executor, platform: Mapping[str, Json]
    ) -> Account | None:
        return None

    def sweep(self, run_id: str) -> None:
        """Remove, beside all else, what a killed engine left of attempts of the run that have ended."""
        self._sweeper.sweep_run(self._home / "attempts" / run_id)

    def end_run(self, run_id: str) -> None:
        """Its folders stay: retention removes them with the run."""

    def close(self) -> None:
        self._sweeper.close()

    def start(
        self,
        order: LaunchOrder,
        on_line: Callable[[str], None] | None = None,
        canceled: Callable[[], bool] | None = None,
    ) -> Attempt:
        """What is wrong with the task itself becomes a FAILED manifest. Raises PenstockError when the home
        cannot be used.
        """
        folder = AttemptFolder.of(self._home, order.run.run_id, order.attempt_id)
        folder.create()
        failpoint("attempt.created")
        while True:
            if (manifest := folder.manifest) is not None:
                return _ended(folder, manifest)
            if (lock := folder.try_lock()) is not None:
                break
            leader = folder.leader
            if leader is not None:
                return self._adopt(order, folder, leader, on_line)
            time.sleep(_POLL_SECONDS)  # another engine is just starting it
        try:
            if (manifest := folder.manifest) is not None:
                return _ended(folder, manifest)
            if (leader := folder.leader) is not None:
                return self._adopt(order, folder, leader, on_line)
            return self._start(order, folder, lock, on_line, canceled)
        finally:
            os.close(lock)

    def log(self, run_id: str, attempt_id: str, follow: bool = False, place: str = "") -> Iterator[str]:
        folder = AttemptFolder.of(self._home, run_id, attempt_id)
        if not folder.path.is_dir():
            raise NotFoundError(
                f"attempt {attempt_id} of run {run_id} has no directory below {str(self._home)!r}"
            )
        lines: list[str] = []
        tail = LogTail(folder.log, lines.append)
        while True:
            over = not follow or folder.manifest is not None or not self._runs(folder, attempt_id)
            tail.read(last=over)
            yield from lines
            lines.clear()
            if over:
                return
            time.sleep(0.1)

    def _runs(self, folder: AttemptFolder, attempt_id: str) -> bool:
        leader = folder.leader
        if leader is not None and folder.exit_code is None and is_alive(folder.mark, leader):
            return True
        lock = folder.try_lock() if leader is None else os.open(os.devnull, os.O_RDONLY)
        if lock is not None:
            os.close(lock)
        return lock is None or not folder.await_log(0.0)

    def _adopt(
        self, order: LaunchOrder, folder: AttemptFolder, leader: int, on_line: Callable[[str], None] | None
    ) -> Attempt:
        launched = folder.launched
        if launched is not None and launched.order != order_digest(order):
            raise PenstockError(
                f"attempt {order.attempt_id} was started for another task or with other inputs; "
                f"its directory is {str(folder.path)!r}"
            )
        handed = NOTHING_HANDED
        if launched is not None and launched.secrets:
            with suppress(SecretError):  # known to the engine that died, and masked in the log
                handed = self.secrets.hand_out(needs(order.platform))
        return ProcessAttempt(
            order,
            folder,
            self._stores,
            new_id,
            on_line,
            leader=leader,
            sweeper=self._sweeper,
            masker=self._masker(order, handed),
        )

    def _masker(self, order: LaunchOrder, handed: Handed) -> Masker:
        """Of all that the attempt is given and nobody should read in its log."""
        passed = masker_of(environment_secrets({**handed_on(self._pass_env), **order.environment}))
        found = Masker((*handed.masker.forms, *passed.forms)) if passed else handed.masker
        KNOWN.add(found.forms)
        return found

    def _start(
        self,
        order: LaunchOrder,
        folder: AttemptFolder,
        lock: int,
        on_line: Callable[[str], None] | None,
        canceled: Callable[[], bool] | None,
    ) -> Attempt:
        executor = order.executor
        masker = NO_MASKER
        try:
            folder.make_rooms()
            if isinstance(executor, ImporterExecutor):
                return run_importer(order, executor, folder, new_id, self._stores)
            if is_volume_task(executor):
                manifest = run_volume_task(order, self._home)
                folder.write_manifest(manifest)
                return EndedAttempt(manifest)
            handed = self.secrets.hand_out(needs(order.platform))
            given = self._credentials.variables(order, self._stores)
            order = replace(order, environment={**given, **order.environment})
            masker = self._masker(order, handed)
            return self._launch(order, executor, folder, lock, on_line, canceled, handed, masker)
        except (RefusedError, ImageRefusedError, PlatformRefusedError, SecretError) as problem:
            return unstarted(order, folder, masker.text(str(problem)), Reason.REFUSED)
        except BuildCanceledError:
            text = f"task '{order.task_name}' was canceled before it began"
            return unstarted(order, folder, text, Reason.CANCELED, Outcome.CANCELED)
        except TaskError as problem:
            discard(order, self._stores)
            return unstarted(order, folder, masker.text(str(problem)), Reason.INPUT)
        except OSError as problem:
            if problem.errno in (errno.ENOSPC, errno.EDQUOT):
                text = f"the disk that holds {str(folder.path)!r} is full; free some space and try again"
            else:
                text = f"task '{order.task_name}' cannot be started: {problem}"
            return unstarted(order, folder, masker.text(text), Reason.INPUT)

    def _launch(
        self,
        order: LaunchOrder,
        executor: ContainerExecutor,
        folder: AttemptFolder,
        lock: int,
        on_line: Callable[[str], None] | None,
        canceled: Callable[[], bool] | None,
        handed: Handed,
        masker: Masker,
    ) -> Attempt:

        def progress(line: str) -> None:
            line = masker.text(line)
            folder.write_line(line)
            if on_line is not None:
                on_line(line)

        def tell(sentence: str) -> None:
            progress(f"penstock: {sentence}")

        staged = stage_in(order, folder, self._stores, self._copies, tell)
        private = self._private_tmp and means() is not None
        temporary = Path("/tmp") if private else _temporary(order, folder)

        given = stand_in(order, self._home, folder.path)
        given.variables.update((name, os.fsdecode(value)) for name, value in handed.variables.items())
        extra = _extra_mounts(given, handed)
        program = self._programs.prepare(
            order, executor, staged.places, folder, temporary, progress, canceled
        )
        try:
            program = with_stand_in(program, given)
            check(program.words, program.variables, order.inputs.parameters, order.task_name)
            tmp, why = None, ""
            if private:
                needed = (self._home, *staged.paths, *program.paths)
                texts = (*executor.command, *executor.args, *(one.value for one in executor.env))
                tmp, why = private_tmp(folder.tmp, needed, order.inputs.parameters, texts)
            if tmp is not None:
                tmp.prepare()
                for one in extra:
                    if (place := tmp.host_path(one.target)) != one.target:
                        place.mkdir(parents=True, exist_ok=True)
            elif private and program.variables["TMPDIR"] == "/tmp":
                temporary = _temporary(order, folder)
                program.variables["TMPDIR"] = str(temporary)
            notes = {**staged.notes, **program.notes, **({"tmp": why} if why else {})}
            link = str(temporary) if temporary.is_symlink() else ""
            shared = tuple(map(str, tmp.shared)) if tmp else ()
            folder.write_launched(
                Launched(
                    order_digest(order), notes, str(folder.tmp) if tmp else "", shared, link, handed.names
                )
            )
            mounts = [*(tmp.mounts() if tmp else ()), *extra]
            return self._spawn(order, folder, lock, program, mounts, on_line, masker)
        finally:
            if program.hold is not None:
                program.hold.release()

    def _spawn(
        self,
        order: LaunchOrder,
        folder: AttemptFolder,
        lock: int,
        program: Program,
        mounts: Sequence[Mount | MemoryMount],
        on_line: Callable[[str], None] | None,
        masker: Masker,
    ) -> Attempt:
        with ExitStack() as stack:
            log = os.open(folder.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            stack.callback(os.close, log)
            offset = os.fstat(log).st_size
            masking, output = stack.enter_context(log_filter(folder, log, masker)) if masker else (None, log)
            process = spawn(
                ["/bin/sh", "-c", _WRAPPER, "penstock", str(folder.path), *program.words],
                mounts,
                means() if mounts else None,
                env=program.variables,
                output=output,
                inherit=[lock, *([program.hold.fileno()] if program.hold else [])],
                scratch=folder.path / "mounts" if any(not one.target.exists() for one in mounts) else None,
            )
        failpoint("attempt.started")
        return ProcessAttempt(
            order,
            folder,
            self._stores,
            new_id,
            on_line,
            process=process,
            log_offset=offset,
            sweeper=self._sweeper,
            masker=masker,
            log_filter=masking,
        )


def _ended(folder: AttemptFolder, manifest: OutputManifest) -> EndedAttempt:
    """Its engine may have died before it had removed what secrets were written into."""
    launched = folder.launched
    if launched is not None and launched.secrets:
        folder.clear_secrets()
    return EndedAttempt(manifest)


def _extra_mounts(given: StandIn, handed: Handed) -> list[Mount | MemoryMount]:
    """Raises PlatformRefusedError where nothing can be mounted, or not at a place that does not exist."""
    mounts: list[Mount | MemoryMount] = [Mount(one.source, one.target) for one in given.mounts]
    mounts += (MemoryMount(one.files, mount_point(one.mount)) for one in handed.volumes)
    if not mounts:
        return []
    allowed = means()
    missing = next((one.target for one in mounts if not one.target.is_dir()), None)
    if allowed is None or (allowed is not Means.THREAD and missing is not None):
        raise PlatformRefusedError(
            f"it mounts a volume at '{missing or mounts[0].target}', which this machine does not "
            "allow; run it as root, or with a Kubernetes launcher"
        )
    return mounts


def _temporary(order: LaunchOrder, folder: AttemptFolder) -> Path:
    """A TMPDIR in the shared /tmp case: the attempt's own, by a short name."""
    if len(str(folder.tmp)) <= _LONGEST_TMP:
        return folder.tmp
    link = Path("/tmp") / f"penstock-{order.attempt_id}"
    try:
        if not link.is_symlink():
            link.symlink_to(folder.tmp)
    except OSError:
        return folder.tmp
    return link if os.readlink(link) == str(folder.tmp) else folder.tmp
