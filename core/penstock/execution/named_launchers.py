"""Launchers that have names of their own in penstock.toml, such as one for each cluster."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import cast

from penstock.errors import InvalidInputError

_KIND, _OURS = "kind", "process"


@dataclass(frozen=True, slots=True)
class NamedLauncher:
    """`kind` is the name that a distribution brings, `settings` replace those of all launchers."""

    kind: str
    settings: Mapping[str, str] = field(default_factory=dict[str, str])


def read_launchers(found: object, origin: str, known: Collection[str]) -> dict[str, NamedLauncher]:
    """The tables `[launchers.NAME]`. `known` are the settings that a launcher may have for itself.

    Raises InvalidInputError, naming the table.
    """
    if not isinstance(found, dict):
        raise InvalidInputError(f"launchers in {origin} must be tables, such as [launchers.gpu]")
    if _OURS in found:
        raise InvalidInputError(
            f"'{_OURS}' is the launcher that penstock brings; {origin} must use another name"
        )
    return {
        name: _read(given, f"[launchers.{name}] of {origin}", known)
        for name, given in cast("dict[str, object]", found).items()
    }


def _read(given: object, origin: str, known: Collection[str]) -> NamedLauncher:
    table = cast("dict[str, object]", given) if isinstance(given, dict) else {}
    kind = table.get(_KIND)
    if not isinstance(kind, str) or not kind:
        raise InvalidInputError(f'{origin} does not say what it is; write kind = "kubernetes"')
    settings: dict[str, str] = {}
    for name, value in table.items():
        if name == _KIND:
            continue
        if name not in known:
            raise InvalidInputError(
                f"{origin} sets '{name}', which is nothing that a launcher has for itself; "
                f"it may set {', '.join(sorted(known))}"
            )
        settings[name] = str(value)
    return NamedLauncher(kind, settings)
