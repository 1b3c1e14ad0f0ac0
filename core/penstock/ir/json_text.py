"""JSON text to values, as strict as the YAML reader: no key twice, no NaN, no bottomless nesting."""

from __future__ import annotations

import json
from typing import Final, NoReturn, cast

from penstock.ir.fault import FaultError, excerpt
from penstock.ir.numbers import plain_number
from penstock.ir.yaml_stream import MAX_DEPTH
from penstock.model import Json

_MAX_DIGITS: Final = 400


def read_json(text: str) -> Json:
    """Raises FaultError, with line and column where the text is not JSON."""
    try:
        value = cast("Json", _DECODER.decode(text))
    except json.JSONDecodeError as error:
        raise FaultError(f"is not JSON (line {error.lineno}, column {error.colno}): {error.msg}") from None
    except ValueError as error:
        raise FaultError(f"is not JSON that a pipeline can use: {error}") from None
    except RecursionError:
        raise FaultError(f"is nested deeper than {MAX_DEPTH} levels") from None
    check_depth(value)
    return value


def check_depth(value: Json) -> None:
    """Raises FaultError for what is nested deeper than MAX_DEPTH levels."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(MAX_DEPTH + 1):
        if not level:
            return
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, (dict, list))
        ]
    raise FaultError(f"is nested deeper than {MAX_DEPTH} levels")


def _mapping(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"the key {excerpt(twice)} is given twice in one mapping")
    return found


def _integer(digits: str) -> int | float:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits")
    return plain_number(int(digits))


def _float(digits: str) -> int | float:
    return plain_number(float(digits))


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_mapping,
    parse_int=_integer,
    parse_float=_float,
    parse_constant=_refuse,
)
