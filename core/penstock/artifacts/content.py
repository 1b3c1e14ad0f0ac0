"""What lies at a path: a file, or a directory with the files and links that may belong to an artifact."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from penstock.artifacts.error import ArtifactError
from penstock.artifacts.protocol import Stored

PART = ".penstock-put-"
"""How the names of unfinished puts begin; nothing so named is ever part of an artifact."""

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link that stays inside its artifact: `target` is relative to the link's own directory."""

    name: str
    target: str
    rewritten: bool


@dataclass(frozen=True, slots=True)
class Content:
    """Names are relative, with "/" between parts; `files` holds links to files too, since they can be read.

    For a plain file, `files` is `("",)`.
    """

    root: Path
    is_directory: bool
    files: tuple[str, ...]
    directories: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()

    def path(self, name: str) -> Path:
        return self.root / name if name else self.root


def examine(root: Path) -> Content:
    """Raises ArtifactError for special files and for links that lead outside, OSError for what cannot be
    read.
    """
    mode = os.stat(root).st_mode
    if stat.S_ISREG(mode):
        return Content(root, False, ("",))
    if not stat.S_ISDIR(mode):
        raise ArtifactError(
            f"{str(root)!r} is a {_kind(mode)}; an artifact is made of files and directories only"
        )
    files: list[str] = []
    directories: list[str] = []
    links: list[Link] = []
    real_root = os.path.realpath(root)
    pending = [""]
    while pending:
        above = pending.pop()
        with os.scandir(root / above) as entries:
            for entry in entries:
                if entry.name.startswith(PART):
                    continue
                name = f"{above}/{entry.name}" if above else entry.name
                if entry.is_symlink():
                    links.append(_link(root, real_root, name))
                    if entry.is_file():
                        files.append(name)
                elif entry.is_dir():
                    directories.append(name)
                    pending.append(name)
                elif entry.is_file():
                    files.append(name)
                else:
                    kind = _kind(entry.stat(follow_symlinks=False).st_mode)
                    raise ArtifactError(
                        f"{name!r} in the artifact directory {str(root)!r} is a {kind}; "
                        "an artifact is made of files and directories only"
                    )
    return Content(
        root, True, tuple(sorted(files, key=os.fsencode)), tuple(sorted(directories)), tuple(links)
    )


def describe(content: Content, uri: str) -> Stored:
    """Reads everything once, in constant memory."""
    if not content.is_directory:
        size, digest = digest_file(content.root)
        return Stored(uri, size, digest)
    return of_listing(uri, [(name, *digest_file(content.path(name))) for name in content.files])


def of_listing(uri: str, listing: list[tuple[str, int, str]]) -> Stored:
    """The Stored of a directory from (name, size, sha256) of its files.

    The digest can be had by hand, in the directory:
    `find . -xtype f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum -z | sha256sum`.
    """
    whole = hashlib.sha256()
    for name, _, digest in sorted(listing, key=lambda one: os.fsencode(one[0])):
        whole.update(digest.encode() + b"  " + os.fsencode(name) + b"\0")
    size = sum(one[1] for one in listing)
    return Stored(uri, size, whole.hexdigest(), is_directory=True, files=len(listing))


def check(found: Stored, expected: Stored | None) -> None:
    """Raises ArtifactError where content differs from what was recorded."""
    if expected is None:
        return
    if found.size != expected.size or (expected.sha256 and found.sha256 != expected.sha256):
        raise ArtifactError(
            f"the content of {found.uri!r} has changed since it was recorded: {found.size} bytes with sha256 "
            f"{found.sha256[:12]}, recorded were {expected.size} bytes with {expected.sha256[:12] or 'none'}"
        )


def digest_file(path: Path) -> tuple[int, str]:
    """(size in bytes, sha256)."""
    with path.open("rb", buffering=0) as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
        return os.fstat(source.fileno()).st_size, digest


def _link(root: Path, real_root: str, name: str) -> Link:
    place = os.path.join(real_root, name)
    target = os.readlink(place)
    above = os.path.dirname(place)
    relative = target
    if os.path.isabs(target):
        # A link may name the directory as it was named to the task, or by its real path.
        for prefix in (str(root), real_root):
            if _inside(target, prefix):
                relative = os.path.relpath(os.path.join(real_root, os.path.relpath(target, prefix)), above)
    if os.path.isabs(relative) or not _inside(os.path.realpath(os.path.join(above, relative)), real_root):
        raise ArtifactError(
            f"the link {name!r} in the artifact directory {str(root)!r} leads outside of it, to {target!r}; "
            "copy the file instead of linking to it"
        )
    return Link(name, relative, rewritten=relative != target)


def _inside(path: str, root: str) -> bool:
    path = os.path.normpath(path)
    return path == root or path.startswith(root.rstrip("/") + "/")


def _kind(mode: int) -> str:
    for test, name in (
        (stat.S_ISFIFO, "named pipe"),
        (stat.S_ISSOCK, "socket"),
        (stat.S_ISBLK, "block device"),
        (stat.S_ISCHR, "character device"),
    ):
        if test(mode):
            return name
    return "special file"
