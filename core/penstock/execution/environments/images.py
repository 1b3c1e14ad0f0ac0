"""Which Python a container image stands for, and which of this machine's Pythons takes its place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from penstock.errors import TaskError

_PREPARED = re.compile(r"^python[-_]?([23])[-.]?(\d{1,2})?(?:[-_].*)?$")
"""Repositories that carry the version in their name: `ubi9/python-311`, `s2i/python-39`, `python3-debian12`.
"""

_TAGGED = re.compile(r"^(?:\d+-)?v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?![\d.])")
"""The tags of `python` itself: `3.11-slim`, `3.13.0rc2`; devcontainers put a version of their own before:
`1-3.11`.
"""

_MENTIONED = re.compile(r"(?:^|[^a-z])py(?:thon)?[-_]?(3)[-_.]?(\d{1,2})(?!\d)")
"""Images of other things that say which Python is inside: `airflow:2.9-python3.11`, `tf-cpu.2-12.py310`."""


class ImageRefusedError(TaskError):
    """No Python of this machine may stand in for the image's."""


@dataclass(frozen=True, slots=True)
class PythonRequest:
    """What an image asks for. `version` is as long as the image is exact: (), (3,), (3, 11) or (3, 11, 4)."""

    image: str
    version: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class AvailablePython:
    """An interpreter of this machine. `version` is in full (`3.11.7`, `3.14.0rc2`), `platform` as
    `linux-x86_64-gnu`.
    """

    path: str
    version: str
    implementation: str = "cpython"
    platform: str = ""

    @property
    def release(self) -> tuple[int, ...]:
        """(3, 14, 0) of `3.14.0rc2`."""
        return tuple(int(part) for part in re.findall(r"\d+", self.version)[:3])

    @property
    def minor(self) -> tuple[int, ...]:
        return self.release[:2]

    @property
    def is_prerelease(self) -> bool:
        return not re.fullmatch(r"[\d.]+", self.version)


@dataclass(frozen=True, slots=True)
class PythonChoice:
    """`substituted` is empty when the minor version is the image's, else one sentence: what replaced what.

    `replaces` is the version that was asked for then.
    """

    python: AvailablePython
    substituted: str = ""
    replaces: tuple[int, ...] = ()


def wanted_python(image: str) -> PythonRequest | None:
    """The Python inside `image`, judged by its name alone; None when the name does not tell of any.

    The tag decides for `python` from any registry; `python:slim`, `python:latest` and `python@sha256:…` ask
    for any version.
    """
    name, tag = _split(image)
    repository = name.rpartition("/")[2].lower()
    if repository == "python":
        return PythonRequest(image, _tag_version(tag))
    if prepared := _PREPARED.match(repository):
        return PythonRequest(image, tuple(int(part) for part in prepared.groups() if part))
    if mentioned := _MENTIONED.search(f"{repository}:{tag}"):
        return PythonRequest(image, (int(mentioned[1]), int(mentioned[2])))
    return None


def choose_python(
    request: PythonRequest, available: Sequence[AvailablePython], *, strict: bool = False
) -> PythonChoice:
    """The same minor version; else the nearest newer one; else the newest there is, the last two marked as
    substituted.

    Of several with the same minor version, the exact patch release wins, then the order of `available`. Patch
    releases replace each other without a mark, except that `strict` wants the one that the image names.
    Pre-releases are taken only when they are what the image asks for. Raises ImageRefusedError, also for
    Python 2 and for a machine without any Python.
    """
    wanted = request.version
    pythons = [one for one in available if not one.is_prerelease]
    pythons += [one for one in available if one.is_prerelease and one.minor == wanted[:2]]
    if not pythons or wanted[:1] == (2,):
        raise _refused(request, available)
    exact = [one for one in pythons if one.release[: len(wanted)] == wanted]
    if exact:
        return PythonChoice(_newest(exact) if len(wanted) < 2 else exact[0])
    same = [one for one in pythons if one.minor == wanted[:2]]
    if same and not strict:
        return PythonChoice(same[0])
    if strict:
        raise _refused(request, available)
    newer = [one for one in pythons if one.minor > wanted[:2]]
    found = _first(newer, min(one.minor for one in newer)) if newer else _newest(pythons)
    text = (
        f"image {request.image} asks for Python {_text(wanted)}; ran on this machine's Python {found.version}"
    )
    return PythonChoice(found, text, wanted)


def _split(image: str) -> tuple[str, str]:
    name = image.strip().partition("@")[0]
    head, colon, tag = name.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (name, "")


def _tag_version(tag: str) -> tuple[int, ...]:
    found = _TAGGED.match(tag)
    if found is None:
        mentioned = _MENTIONED.search(tag)
        return (int(mentioned[1]), int(mentioned[2])) if mentioned else ()
    version = tuple(int(part) for part in found.groups() if part is not None)
    return version if version[0] in (2, 3) else ()


def _newest(pythons: Sequence[AvailablePython]) -> AvailablePython:
    return _first(pythons, max(one.minor for one in pythons))


def _first(pythons: Sequence[AvailablePython], minor: tuple[int, ...]) -> AvailablePython:
    return next(one for one in pythons if one.minor == minor)


def _text(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


def _refused(request: PythonRequest, available: Sequence[AvailablePython]) -> ImageRefusedError:
    wanted = f"Python {_text(request.version)}" if request.version else "a Python"
    found = ", ".join(sorted({one.version for one in available})) or "none"
    minor = _text(request.version[:2] if len(request.version) > 1 else (3,))
    remedy = f"install it (`uv python install {minor}`) or run the task on Kubernetes"
    if request.version[:1] == (2,):
        remedy = "port the component to Python 3 or run the task on Kubernetes"
    return ImageRefusedError(f"image {request.image} asks for {wanted}, this machine has {found}; {remedy}")
