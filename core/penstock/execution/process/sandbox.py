"""A private /tmp for an attempt, where the system allows it. It is never required.

As root, the starting thread gives itself a mount namespace and the child inherits it: that costs 0.4 ms.
Otherwise `unshare` makes a user namespace first, in which the mounts are allowed.
"""

from __future__ import annotations

import _thread
import functools
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.execution.process.mountpoints import make_mount_points
from penstock.model import Json

if TYPE_CHECKING:
    import ctypes

TMP = Path("/tmp")

_CLONE_NEWNS = 0x00020000
_MS_RDONLY = 0x1
_MS_NOSUID = 0x2
_MS_NODEV = 0x4
_MS_REMOUNT = 0x20
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_PRIVATE = 1 << 18

_NAMES_TMP = re.compile(r"^(?:[a-z][a-z0-9+.-]*:/{2,3})?(/tmp(?:/.*)?)$", re.IGNORECASE | re.DOTALL)

_MENTIONED = re.compile(r"""(?<![\w/.])/tmp/[^\s'"`;:,|&<>()$*?{}\[\]\\]+""")


class Means(StrEnum):
    THREAD = "thread"
    UNSHARE = "unshare"


@dataclass(frozen=True, slots=True)
class Mount:
    """`source` appears at `target`, with everything mounted below it."""

    source: Path
    target: Path


@dataclass(frozen=True, slots=True)
class MemoryMount:
    """`files` by name, in memory at `target`, for reading only. They are gone with the last process that sees
    them.
    """

    files: Mapping[str, bytes] = field(repr=False)
    target: Path


@dataclass(frozen=True, slots=True)
class PrivateTmp:
    """What the task sees as /tmp is `folder`, except for the `shared` paths below /tmp, which are the
    machine's own.
    """

    folder: Path
    shared: tuple[Path, ...] = ()

    def host_path(self, seen: Path) -> Path:
        """Where on the machine that lies which the task calls `seen`."""
        if not seen.is_relative_to(TMP) or any(seen.is_relative_to(one) for one in self.shared):
            return seen
        return self.folder / seen.relative_to(TMP)

    def mounts(self) -> list[Mount]:
        """In order: first what stays reachable is hung into the new /tmp, then that is hung over the old
        one.
        """
        return [
            *(Mount(one, self.folder / one.relative_to(TMP)) for one in self.shared),
            Mount(self.folder, TMP),
        ]

    def prepare(self) -> None:
        """Make the places for the mounts. Raises OSError."""
        for mount in self.mounts()[:-1]:
            if mount.source.is_dir():
                mount.target.mkdir(parents=True, exist_ok=True)
            else:
                mount.target.parent.mkdir(parents=True, exist_ok=True)
                mount.target.touch()


def private_tmp(
    folder: Path, needed: Sequence[Path], values: Mapping[str, Json], texts: Sequence[str] = ()
) -> tuple[PrivateTmp | None, str]:
    """A /tmp in which `needed`, and what the input parameters name, can be reached; or None and why not.

    A parameter that names a path below /tmp keeps the nearest existing directory above that path shared. So
    does a mention in `texts` (the command as written), except that one of nothing but /tmp itself stays
    private.
    """
    shared: set[Path] = set()
    for path in needed:
        for one in {Path(os.path.abspath(path)), Path(os.path.realpath(path))}:
            if one.is_relative_to(TMP):
                shared.add(existing := _existing(one))
                if existing == TMP:
                    return None, f"{str(path)!r} lies in the system's /tmp, so the task shares it"
    for name, value in values.items():
        for path in _paths(value):
            above = _existing_directory(path)
            if above == TMP:
                return None, f"the input {name!r} names {str(path)!r}, so the task shares the system's /tmp"
            shared.add(above)
    for text in texts:
        shared |= {_existing_directory(path) for path in _mentions(text)} - {TMP}
    outermost = [one for one in shared if not any(other in one.parents for other in shared)]
    return PrivateTmp(folder, tuple(sorted(outermost))), ""


@functools.cache
def means() -> Means | None:
    """How mounts can be made here; tried once, by making one."""
    if not sys.platform.startswith("linux"):
        return None
    mounts = [Mount(TMP, TMP)]
    for one in (Means.THREAD, Means.UNSHARE):
        try:
            child = spawn(["/bin/true"], mounts, one)
        except OSError:
            continue
        if child.wait() == 0:
            return one
    return None


def spawn(
    argv: Sequence[str],
    mounts: Sequence[Mount | MemoryMount] = (),
    by: Means | None = None,
    *,
    env: Mapping[str, str] | None = None,
    output: int = subprocess.DEVNULL,
    inherit: Sequence[int] = (),
    scratch: Path | None = None,
) -> subprocess.Popen[bytes]:
    """A process in a session of its own, with no input, and with `mounts` that only it and its children see.

    With `scratch`, an empty directory, targets that do not exist are made for it (Means.THREAD only).
    Its output and errors go to the file descriptor `output`; it inherits the descriptors `inherit` besides.
    Raises OSError where the mounts are not allowed.
    """

    def start(words: Sequence[str], stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            words,
            env=env,
            stdin=stdin,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=inherit,
        )

    if by is None or not mounts:
        return start(argv)
    if by is Means.THREAD:
        return _in_thread(lambda: start(argv), mounts, scratch)
    files = os.open(os.devnull, os.O_RDONLY) if not _has_files(mounts) else os.memfd_create("penstock")
    try:
        for one in mounts:
            for data in one.files.values() if isinstance(one, MemoryMount) else ():
                os.write(files, data)
        os.lseek(files, 0, os.SEEK_SET)
        return start([*_unshare(mounts), *argv], files)
    finally:
        os.close(files)


def _unshare(mounts: Sequence[Mount | MemoryMount]) -> list[str]:
    """The command that makes the mounts before it becomes another. The files of memory mounts it reads
    from its input, one after the other.
    """
    unshare, mount = shutil.which("unshare"), shutil.which("mount")
    if unshare is None or mount is None:
        raise FileNotFoundError("unshare or mount")
    lines = [line for one in mounts for line in _mount_lines(mount, one)]
    script = " && ".join([*lines, 'exec "$@" </dev/null'])
    return [unshare, "--user", "--map-root-user", "--mount", "/bin/sh", "-c", script, "sh"]


def _mount_lines(mount: str, one: Mount | MemoryMount) -> Iterator[str]:
    target = str(one.target)
    if isinstance(one, Mount):
        yield shlex.join([mount, "--rbind", str(one.source), target])
        return
    yield shlex.join([mount, "-t", "tmpfs", "-o", "nosuid,nodev,mode=0700", "penstock", target])
    for name, data in one.files.items():
        file = shlex.quote(f"{target}/{name}")
        # One read of a file gets all that is asked for.
        yield f"dd bs={len(data)} count=1 of={file} 2>/dev/null" if data else f": >{file}"
        yield f"chmod 0400 {file}"
    yield shlex.join([mount, "-o", "remount,ro,nosuid,nodev", target])


def _in_thread(
    start: Callable[[], subprocess.Popen[bytes]],
    mounts: Sequence[Mount | MemoryMount],
    scratch: Path | None,
) -> subprocess.Popen[bytes]:
    """A mount namespace belongs to a thread; the child of this one inherits it, and the thread ends."""
    over = threading.Lock()
    started: list[subprocess.Popen[bytes]] = []
    problems: list[BaseException] = []

    def run() -> None:
        try:
            _enter_namespace(mounts, scratch)
            started.append(start())
        except BaseException as problem:  # noqa: BLE001 - raised again in the thread that waits
            problems.append(problem)
        finally:
            over.release()

    with over:
        # Not threading.Thread, whose two more handshakes cost a millisecond.
        _thread.start_new_thread(run, ())
        over.acquire()
    if problems:
        raise problems[0]
    return started[0]


def _enter_namespace(mounts: Sequence[Mount | MemoryMount], scratch: Path | None) -> None:
    import ctypes

    libc = _libc()

    def check(result: int, what: str) -> None:
        if result != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), what)

    check(libc.unshare(_CLONE_NEWNS), "unshare")
    check(libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "/")

    def bind(source: Path, target: Path) -> None:
        flags = _MS_BIND | _MS_REC
        check(libc.mount(os.fsencode(source), os.fsencode(target), None, flags, None), str(target))

    if scratch is not None:
        make_mount_points(_outermost(mounts), scratch, bind)
    for one in mounts:
        if isinstance(one, Mount):
            bind(one.source, one.target)
            continue
        target, flags = os.fsencode(one.target), _MS_NOSUID | _MS_NODEV
        check(libc.mount(b"penstock", target, b"tmpfs", flags, b"mode=0700"), str(one.target))
        for name, data in one.files.items():
            with open(os.open(one.target / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "wb") as file:
                file.write(data)
        check(libc.mount(b"penstock", target, None, flags | _MS_REMOUNT | _MS_RDONLY, None), str(one.target))


@functools.cache
def _libc() -> ctypes.CDLL:
    """The C library, with just the two calls typed; imported late because ctypes takes a while."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    libc.unshare.argtypes = [ctypes.c_int]
    libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
    return libc


def _outermost(mounts: Sequence[Mount | MemoryMount]) -> list[Path]:
    """Targets without those that lie in what is mounted before them."""
    targets = [one.target for one in mounts]
    return [one for at, one in enumerate(targets) if not any(one.is_relative_to(two) for two in targets[:at])]


def _has_files(mounts: Sequence[Mount | MemoryMount]) -> bool:
    return any(isinstance(one, MemoryMount) and one.files for one in mounts)


def _paths(value: Json) -> Iterator[Path]:
    """The paths below /tmp that a value names, also inside lists and structs and as URIs."""
    if isinstance(value, str):
        if (found := _NAMES_TMP.match(value)) and "\0" not in value:
            path = Path(os.path.normpath(found[1]))
            if path.is_relative_to(TMP):
                yield path
    elif isinstance(value, list):
        for one in value:
            yield from _paths(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _paths(one)


def _mentions(text: str) -> Iterator[Path]:
    for found in _MENTIONED.findall(text):
        path = Path(os.path.normpath(found))
        if path.is_relative_to(TMP):
            yield path


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _existing_directory(path: Path) -> Path:
    while not path.is_dir():
        path = path.parent
    return path
