"""Mount points that do not exist on this machine, made in the task's own mount namespace and nowhere else.

A directory that lacks one is replaced, for the task, by a copy of its entries (each bound to the original)
and the new name. Where that directory is `/`, the task gets the copy as its root.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

Bind = Callable[[Path, Path], None]
"""Hangs the first path, with everything mounted below it, over the second."""

ROOT = Path("/")


def make_mount_points(targets: Sequence[Path], scratch: Path, bind: Bind) -> None:
    """Make every target that does not exist a directory, in the mount namespace of the calling thread. Raises
    OSError.

    `scratch` is an empty directory outside all targets; what is made in it may be removed when the task has
    ended.
    """
    fresh = [one for one in targets if not os.path.lexists(ROOT / one.parts[1])]
    if fresh:
        _copy(ROOT, scratch / "root", bind)
        for one in fresh:
            (scratch / "root" / one.relative_to(ROOT)).mkdir(parents=True, exist_ok=True)
        os.chroot(scratch / "root")
        os.chdir("/")
    for index, one in enumerate(targets):
        if one.exists():
            continue
        existing = next(above for above in one.parents if above.is_dir())
        place = scratch / str(index)
        _copy(existing, place, bind)
        (place / one.relative_to(existing)).mkdir(parents=True)
        bind(place, existing)


def _copy(folder: Path, place: Path, bind: Bind) -> None:
    place.mkdir(parents=True)
    with os.scandir(folder) as entries:
        for entry in entries:
            copy = place / entry.name
            if entry.is_symlink():
                copy.symlink_to(os.readlink(entry.path))
            elif entry.is_dir():
                copy.mkdir()
                bind(Path(entry.path), copy)
            else:
                copy.touch()
                bind(Path(entry.path), copy)
