"""The provider seam: who reads the value behind a reference. Each scheme has one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast

from penstock.errors import TaskError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP: Final = "penstock.secrets"
LARGEST: Final = 1 << 20
"""Bytes of a value, as in Kubernetes."""


class SecretError(TaskError):
    """A value cannot be had. The sentence holds no part of any value."""


class SecretProvider(Protocol):
    """Found through the entry-point group `penstock.secrets`, by its scheme; loads a callable without
    arguments.

    Reads when it is asked, keeps nothing, and may be called by several threads at once.
    """

    def resolve(self, place: str) -> bytes | None:
        """The value at a place; None where there is none. Raises SecretError."""
        ...

    def keys(self, place: str) -> Mapping[str, str] | None:
        """The place of each value of a whole secret, by its key; None where there is none. Raises
        SecretError.
        """
        ...


class EnvironmentSecrets:
    """`env:NAME`: a variable of the process that launches the task. It knows no whole secrets."""

    def resolve(self, place: str) -> bytes | None:
        found = os.environ.get(place)
        return None if found is None else os.fsencode(found)

    def keys(self, place: str) -> Mapping[str, str] | None:
        return None


class FileSecrets:
    """`file:/path`: the bytes of a file as they are; a folder with a file for each key, as Kubernetes and
    Docker mount them, is a whole secret.
    """

    def resolve(self, place: str) -> bytes | None:
        path = Path(place)
        try:
            if path.stat().st_size > LARGEST:
                raise SecretError(f"{place!r} has more than the {LARGEST} bytes that a secret may have")
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as problem:
            raise SecretError(f"{place!r} cannot be read: {problem.strerror}") from None

    def keys(self, place: str) -> Mapping[str, str] | None:
        try:
            with os.scandir(place) as entries:
                # Kubernetes keeps the values in `..data`, which the names beside it are links into.
                return {one.name: one.path for one in entries if one.name[:2] != ".." and one.is_file()}
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as problem:
            raise SecretError(f"{place!r} cannot be read: {problem.strerror}") from None


_BUILT_IN: Final[Mapping[str, Callable[[], SecretProvider]]] = {
    "env": EnvironmentSecrets,
    "file": FileSecrets,
}


def _entry_points(scheme: str) -> Iterable[EntryPoint]:
    from importlib.metadata import entry_points  # slow to import, and seldom needed

    return entry_points(group=GROUP, name=scheme)


def is_installed(scheme: str) -> bool:
    return scheme in _BUILT_IN or any(True for _ in _entry_points(scheme))


@cache
def provider(scheme: str) -> SecretProvider:
    """Raises SecretError for a scheme that nothing here reads."""
    if scheme in _BUILT_IN:
        return _BUILT_IN[scheme]()
    for found in _entry_points(scheme):
        return cast("Callable[[], SecretProvider]", found.load())()
    raise SecretError(f"no provider of secrets '{scheme}' is installed")
