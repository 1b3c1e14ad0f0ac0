"""References to secrets: where a value is to be read from, never the value itself."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from penstock.errors import InvalidInputError
from penstock.execution.secrets.provider import is_installed

NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
KEY: Final = re.compile(r"(?!\.\.?$)[A-Za-z0-9._-]{1,253}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HOW: Final = '"env:NAME" for an environment variable, "file:/path" for a file'


@dataclass(frozen=True, slots=True)
class SecretReference:
    """`env:NAME`, `file:/path`, or the scheme of an installed provider with a place that it understands."""

    scheme: str
    place: str

    def __str__(self) -> str:
        return f"{self.scheme}:{self.place}"


References = Mapping[str, SecretReference]
"""By `name/key` for one value, by `name` for a whole secret."""


def read_references(found: object, origin: str, folder: Path) -> dict[str, SecretReference]:
    """References as a table of penstock.toml gives them, whose relative paths are below `folder`; or as a
    text, `NAME/KEY=REFERENCE` separated by commas.

    Raises InvalidInputError, which names the secret and quotes nothing that might be its value.
    """
    if isinstance(found, str):
        found = dict(_pairs(found, origin))
    if not isinstance(found, Mapping):
        raise InvalidInputError(f'{origin} must be a table of references, such as "db/password" = "env:NAME"')
    references: dict[str, SecretReference] = {}
    for name, value in _flat(cast("Mapping[str, object]", found)):
        _check_name(name, origin)
        references[name] = _reference(name, value, origin, folder)
    return references


def _pairs(text: str, origin: str) -> Iterator[tuple[str, str]]:
    entries = [one.strip() for one in text.replace("\n", ",").split(",")]
    for number, one in enumerate(filter(None, entries), 1):
        name, equals, value = one.partition("=")
        if not equals:
            raise InvalidInputError(
                f"entry {number} of {origin} is not NAME/KEY=REFERENCE; a reference is {_HOW}"
            )
        yield name.strip(), value.strip()


def _flat(table: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """`[secrets.db] password = …` is the same as `"db/password" = …`."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            inner = cast("Mapping[str, object]", value)
            yield from ((f"{name}/{key}", one) for key, one in inner.items())
        else:
            yield name, value


def _check_name(text: str, origin: str) -> None:
    name, slash, key = text.partition("/")
    if not NAME.fullmatch(name) or (slash and not KEY.fullmatch(key)):
        raise InvalidInputError(
            f"{origin} names '{text}', which is no secret: write NAME/KEY, or NAME for all of a secret; a "
            "name has small letters, digits, '-' and '.', a key letters, digits, '-', '_' and '.'"
        )


def _reference(name: str, value: object, origin: str, folder: Path) -> SecretReference:
    scheme, colon, place = value.partition(":") if isinstance(value, str) else ("", "", "")
    known = bool(colon and place) and is_installed(scheme)
    if not known or (scheme == "env" and not _VARIABLE.fullmatch(place)):
        raise InvalidInputError(
            f"{origin} gives '{name}' something that is no reference; it must say where to read the value, "
            f"not what it is: {_HOW}"
        )
    if scheme == "env" and "/" not in name:
        raise InvalidInputError(
            f"{origin} gives the whole secret '{name}' one environment variable; give each key its own, such "
            f'as "{name}/KEY" = "env:NAME"'
        )
    if scheme == "file":
        path = os.path.expanduser(place.removeprefix("//") if place.startswith("///") else place)
        place = os.path.abspath(folder / path)
    return SecretReference(scheme, place)
