"""Narrowing of JSON values on the fast path: regular or IrregularError, no place, no message."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

from penstock.ir.fault import IrregularError
from penstock.model import Json, JsonObject

_NOTHING: Final[JsonObject] = {}


def message(value: Json, names: AbstractSet[str]) -> JsonObject:
    """A mapping with no other keys than `names`; nothing (None) is an empty one."""
    if value is None:
        return _NOTHING
    if not isinstance(value, dict) or not value.keys() <= names:
        raise IrregularError
    return value


def mapping(value: Json) -> JsonObject:
    if value is None:
        return _NOTHING
    if not isinstance(value, dict):
        raise IrregularError
    return value


def text(value: Json) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise IrregularError
    return value


def texts(value: Json) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise IrregularError
    found: list[str] = []
    for one in value:
        if not isinstance(one, str):
            raise IrregularError
        found.append(one)
    return tuple(found)


def flag(value: Json) -> bool:
    if value is None:
        return False
    if not isinstance(value, bool):
        raise IrregularError
    return value


def items(value: Json) -> list[Json]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise IrregularError
    return value


def integer(value: Json) -> int:
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool):
        raise IrregularError
    return value


def number(value: Json) -> float | int | None:
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise IrregularError
    return value
