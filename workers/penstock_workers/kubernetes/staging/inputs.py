"""Inputs to where the task looks for them, and installed packages to where they were installed."""

import os
import sys
from typing import BinaryIO, Dict, List, Tuple

from store import Remote, Sheet, StageError


def stage_in(sheet: Sheet, remote: Remote) -> None:
    for path in sheet.get("places", []):
        _make_folder(os.path.dirname(path))
    for given in sheet.get("inputs", []):
        listing: List[Tuple[str, int, str]] = []
        for one in given["files"]:
            path = os.path.join(str(given["path"]), one["name"]) if one["name"] else str(given["path"])
            _make_folder(os.path.dirname(path))
            with open(path, "w+b") as target:
                size, digest = remote.get(one["url"], target, given["what"])
            listing.append((one["name"], size, digest))
        if given["directory"]:
            _make_folder(given["path"])
        wanted = given.get("sha256")
        if wanted and _digest(listing, given["directory"]) != wanted:
            raise StageError(
                "the content of {} has changed since it was recorded; run the task that made it again".format(
                    given["what"]
                )
            )
    environment = sheet.get("environment")
    if environment and environment["python"] != python_tag():
        # The image is no longer the one that the packages were installed in.
        sheet["command"] = environment["command"]
        sheet["environment"] = None
    elif environment:
        _unpack(environment, remote)


def python_tag() -> str:
    """What an archive of installed packages must agree in with who unpacks it."""
    return "{}-{}-{}".format(sys.implementation.cache_tag, os.uname().machine, sys.base_prefix)


def _unpack(environment: Dict[str, str], remote: Remote) -> None:
    """To the very place where they were installed."""
    _make_folder(environment["root"])
    part = os.path.join(environment["root"], ".archive")
    with open(part, "w+b") as target:
        _, digest = remote.get(environment["url"], target, "the installed packages")
        if digest != environment["sha256"]:
            raise StageError("the archive of installed packages is damaged; `penstock gc` can remove it")
        target.seek(0)
        extract(target, environment["root"])
    os.unlink(part)


def extract(source: BinaryIO, root: str) -> None:
    """`tarfile` does the same in three times the time, which every pod would pay."""
    import shutil
    import tarfile

    with tarfile.open(fileobj=source, mode="r:*") as archive:
        for one in archive:
            path = os.path.join(root, one.name)
            if one.isdir():
                os.mkdir(path, one.mode)
            elif one.issym():
                os.symlink(one.linkname, path)
            elif one.islnk():
                os.link(os.path.join(root, one.linkname), path)
            else:
                content = archive.extractfile(one)
                assert content is not None
                with open(path, "wb", buffering=0) as target:
                    shutil.copyfileobj(content, target)
                    os.fchmod(target.fileno(), one.mode)
                    # Compiled modules are good for sources of the same time.
                    os.utime(target.fileno(), (one.mtime, one.mtime))


def _make_folder(path: str) -> None:
    """For all to write into: the task may run as another user than who stages."""
    missing: List[str] = []
    while path and not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for one in reversed(missing):
        try:
            os.mkdir(one)
            os.chmod(one, 0o777)
        except FileExistsError:
            pass


def _digest(listing: List[Tuple[str, int, str]], directory: bool) -> str:
    if not directory:
        return listing[0][2] if listing else ""
    import hashlib

    whole = hashlib.sha256()
    for name, _, digest in sorted(listing, key=lambda one: os.fsencode(one[0])):
        whole.update(digest.encode() + b"  " + os.fsencode(name) + b"\0")
    return whole.hexdigest()
