"""Names that penstock uses in task paths, file names and URIs."""

from __future__ import annotations

import re
from typing import Final

from penstock.ir.fault import FaultError, excerpt

MAX_NAME: Final = 240
"""Bytes of a name: file systems allow 255 for a file, and some of ours get an ending."""

_SAFE: Final = re.compile(r"[\w-]{1,60}", re.ASCII)
_UNSAFE: Final = re.compile(r"[/\\\[\]\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]|\.\.|^\.$")


def check_name(name: str, what: str = "the name") -> None:
    """Raises FaultError for a name that would lead out of its folder, or could not be told from a path."""
    if _SAFE.fullmatch(name):
        return
    if not name:
        raise FaultError(f"{what} is empty")
    if found := _UNSAFE.search(name):
        raise FaultError(
            f"{what} {excerpt(name)} contains {excerpt(found[0])}, and it becomes part of paths",
            remedy="Use letters, digits, '-', '_' and single '.'.",
        )
    if len(name.encode()) > MAX_NAME:
        problem = f"{what} {excerpt(name)} is longer than {MAX_NAME} bytes, and it becomes part of paths"
        raise FaultError(problem)
