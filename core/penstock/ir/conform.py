"""The slow, explaining reader of protojson.

It says exactly where a document departs from its messages, and makes regular what protojson also accepts
(original field names, numbers as texts, enum numbers, nulls). The fast readers know the regular form only.
"""

from __future__ import annotations

import difflib
import re
from typing import Final

from penstock.ir.fault import FaultError, excerpt, kind
from penstock.ir.numbers import plain_number
from penstock.ir.schema import (
    DURATION,
    FLAG,
    NUMBER,
    STRUCT,
    TEXT,
    VALUE,
    Enum,
    ListOf,
    MapOf,
    Message,
    Scalar,
    Shape,
    snake_case,
)
from penstock.model import Json, JsonObject

_DURATION: Final = re.compile(r"\d{1,12}(\.\d{1,9})?s", re.ASCII)
_DIGITS: Final = re.compile(r"[+-]?\d{1,20}", re.ASCII)


def conform(value: Json, shape: Shape) -> Json:
    """The value in its regular form. Raises FaultError for whatever does not fit, with its steps."""
    match shape:
        case Message():
            return _message(_mapping(value), shape)
        case MapOf(item):
            return {name: _within(name, one, item) for name, one in _mapping(value).items()}
        case ListOf(item):
            if not isinstance(value, list):
                raise _wrong("a list", value)
            return [_within(str(index), one, item) for index, one in enumerate(value)]
        case Enum(names):
            return _enum(value, names)
        case Scalar():
            return _scalar(value, shape)


def _within(step: str, value: Json, shape: Shape) -> Json:
    try:
        return conform(value, shape)
    except FaultError as fault:
        raise fault.within(step) from None


def _message(value: JsonObject, shape: Message) -> Json:
    found: JsonObject = {}
    for key, one in value.items():
        if key in shape.dropped:
            continue
        name = key if key in shape.fields else shape.original.get(key)
        if name is None:
            if not shape.open:
                raise _unknown(key, shape)
            found[key] = one
            continue
        if one is None and shape.fields[name] is not VALUE:
            continue
        if name in found:
            raise FaultError(f"the field {name} is given twice, as {name} and as {snake_case(name)}")
        found[name] = _within(key, one, shape.fields[name])
    for group in shape.one_of:
        together = [name for name in group if name in found]
        if len(together) > 1:
            raise FaultError(f"has both {together[0]} and {together[1]}, of which only one may be set")
    return found


def _unknown(key: str, shape: Message) -> FaultError:
    close = difflib.get_close_matches(key, shape.fields, n=1)
    known = f"Did you mean {close[0]}?" if close else f"Known here: {', '.join(sorted(shape.fields))}."
    return FaultError(f"the field {excerpt(key)} is not known", remedy=known)


def _mapping(value: Json) -> JsonObject:
    if not isinstance(value, dict):
        raise _wrong("a mapping", value)
    return value


def _enum(value: Json, names: tuple[str, ...]) -> Json:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(names):
        return names[value]
    if isinstance(value, str) and value in names:
        return value
    raise FaultError(f"must be one of {', '.join(names)}, but is {excerpt(value)}")


def _scalar(value: Json, shape: Scalar) -> Json:
    fits = False
    if shape is VALUE:
        return value
    if shape is TEXT:
        fits = isinstance(value, str)
    elif shape is FLAG:
        fits = isinstance(value, bool)
    elif shape is STRUCT:
        fits = isinstance(value, dict)
    elif shape is DURATION:
        fits = isinstance(value, str) and _DURATION.fullmatch(value) is not None
    elif not isinstance(value, bool):
        number = _number(value)
        if number is not None and (shape is NUMBER or isinstance(number, int)):
            return number
    if not fits:
        raise _wrong(shape.what, value)
    return value


def _number(value: Json) -> int | float | None:
    """protojson takes numbers as texts, too."""
    if isinstance(value, str):
        try:
            return plain_number(int(value) if _DIGITS.fullmatch(value) else float(value))
        except ValueError:
            return None
    return value if isinstance(value, (int, float)) else None


def _wrong(what: str, value: Json) -> FaultError:
    shown = (
        f" ({excerpt(value)})" if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ""
    )
    return FaultError(f"must be {what}, but is {kind(value)}{shown}")
