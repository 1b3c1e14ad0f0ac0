"""Parameter values as KFP sees them: protobuf `Value`s, printed and read the way its Go programs do.

Every number is a double. In Python an integral one below 1e21 is an `int`; from there on, and for -0.0, it
stays a `float`, which is also what a Python component reads from the JSON that KFP writes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Final, NoReturn, cast

from penstock.errors import ResolutionError
from penstock.model.value import Json

MAX_DEPTH: Final = 200
"""Deeper lists and structs are refused, which keeps every walk clear of Python's recursion limit."""

_EXACT: Final = 2**53
_EXPONENT_FROM: Final = 1e21
_EXPONENT_BELOW: Final = 1e-6

# What Go's strings.TrimSpace removes; str.strip() would take \x1c to \x1f as well.
_GO_SPACE: Final = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
_GO_INTEGER: Final = re.compile(r"[+-]?0*([0-9]{0,19})", re.ASCII)
_GO_FLOAT: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_GO_HEX_FLOAT: Final = re.compile(
    r"[+-]?0x([0-9a-f]+(\.[0-9a-f]*)?|\.[0-9a-f]+)p[+-]?[0-9]+", re.ASCII | re.IGNORECASE
)
_GO_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_GO_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_HTML: Final = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}

_LEGACY: Final = {"INT": "NUMBER_INTEGER", "DOUBLE": "NUMBER_DOUBLE"}
_EXPECTED: Final = {
    "STRING": "a string",
    "NUMBER_INTEGER": "an integer",
    "NUMBER_DOUBLE": "a number",
    "BOOLEAN": "a boolean",
    "LIST": "a list",
    "STRUCT": "a struct",
    "TASK_FINAL_STATUS": "a task's final status",
    "TASK_CONFIG": "a task configuration",
}


def normalize(value: object, *, where: str = "") -> Json:
    """The value with its numbers as protobuf doubles: 2.0 is 2, and 2**53 + 1 is 2**53.

    Raises ResolutionError, beginning with `where`, for what protobuf cannot carry: NaN, infinities, keys that
    are not strings, text that is not Unicode, nesting deeper than MAX_DEPTH.
    """
    try:
        return _normalize(value, 0)
    except ResolutionError as error:
        if where:
            raise ResolutionError(f"{where}: {error}") from None
        raise


def go_json(value: Json) -> str:
    """The value as Go's encoding/json writes it: compact, keys sorted, `<>&`, U+2028 and U+2029 escaped."""
    out: list[str] = []
    _write(value, out, 0)
    return "".join(out).translate(_HTML)


def number_text(number: int | float) -> str:
    """A number as KFP prints it in placeholders and texts: Go's 'f' format, shortest digits, no exponent."""
    if isinstance(number, int) and -_EXACT <= number <= _EXACT:
        return str(number)
    double = _double(number)
    if double.is_integer() and abs(double) <= _EXACT:
        return "-0" if _is_negative_zero(double) else str(int(double))
    text = format(Decimal(repr(double)), "f")
    return text.removesuffix(".0")


def to_text(value: Json) -> str:
    """What a STRING input gets of any value (KFP: PbValueToText): null is "", lists and structs are JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return number_text(value)
    return go_json(value)


def parse_json(text: str, *, where: str = "text") -> Json:
    """JSON text to a normalized value. Raises ResolutionError; NaN and Infinity are not JSON."""
    try:
        parsed: object = _DECODER.decode(text)
    except RecursionError:
        raise ResolutionError(f"{where} is nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise ResolutionError(f"{where} is not JSON ({error}): {excerpt(text)}") from None
    return normalize(parsed, where=where)


def text_to_value(text: str, type_name: str, *, where: str = "value") -> Json:
    """What a component wrote into an output file, as a value of the declared type (KFP: TextToPbValue).

    `where` names the value in the message of the ResolutionError: "output 'accuracy'".
    """
    kind = _kind(type_name)
    match kind:
        case "STRING":
            return normalize(text, where=where)
        case "NUMBER_INTEGER":
            value = _parse_integer(text.strip(_GO_SPACE))
        case "NUMBER_DOUBLE":
            value = _parse_double(text.strip(_GO_SPACE))
        case "BOOLEAN":
            word = text.strip(_GO_SPACE)
            value = True if word in _GO_TRUE else False if word in _GO_FALSE else None
        case "LIST" | "STRUCT":
            value = parse_json(text, where=where)
        case _:
            raise ResolutionError(f"{where} has the type {type_name}, which no text can stand for")
    if not _fits(value, kind):
        raise ResolutionError(f"{where} must be {_EXPECTED[kind]} ({type_name}), but holds {excerpt(text)}")
    return value


def coerce(value: Json, type_name: str, *, where: str) -> Json:
    """The value as an input of the declared type (KFP driver: resolve.go).

    A STRING input takes anything, as text. All others must match, and null never does. `where` begins the
    message of the ResolutionError: "input 'x' of task 'train'".
    """
    kind = _kind(type_name)
    found = normalize(value, where=where)
    if kind == "STRING":
        return to_text(found)
    if not _fits(found, kind):
        raise ResolutionError(f"{where} must be {_EXPECTED[kind]} ({type_name}), but is {excerpt(found)}")
    return found


def matches(value: Json, type_name: str) -> bool:
    """Whether an argument given at submit time has the declared type; here a STRING must be one already."""
    return _fits(value, _kind(type_name))


def excerpt(value: object, limit: int = 80) -> str:
    """The value as JSON for a message, cut to `limit` characters."""
    if isinstance(value, str) and len(value) > limit:
        value = value[:limit] + "…"
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (ValueError, TypeError, RecursionError):
        text = repr(type(value))
    return text if len(text) <= limit + 3 else text[:limit] + "…"


def _normalize(value: object, depth: int) -> Json:
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        if not value.isascii():
            _check_unicode(value)
        return value
    if isinstance(value, (int, float)):
        return _number(value)
    if depth >= MAX_DEPTH:
        raise ResolutionError(f"a value is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        mapping = cast("Mapping[object, object]", value)
        return {_key(key): _normalize(item, depth + 1) for key, item in mapping.items()}
    if isinstance(value, (list, tuple)):
        return [_normalize(item, depth + 1) for item in cast("Sequence[object]", value)]
    raise ResolutionError(f"a value of type {type(value).__name__} is not JSON")


def _number(number: int | float) -> int | float:
    if isinstance(number, int) and -_EXACT <= number <= _EXACT:
        return int(number)
    double = _double(number)
    if double.is_integer() and abs(double) < _EXPONENT_FROM and not _is_negative_zero(double):
        return int(double)
    return double


def _double(number: int | float) -> float:
    try:
        double = float(number)
    except OverflowError:
        double = math.inf
    if not math.isfinite(double):
        shown = "an integer beyond 1.8e308" if isinstance(number, int) else str(double)
        raise ResolutionError(f"{shown} cannot be a parameter: numbers are finite 64-bit floats")
    return double


def _is_negative_zero(double: float) -> bool:
    return double == 0 and math.copysign(1, double) < 0


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise ResolutionError(f"a struct has the key {key!r}; keys must be strings")
    if not key.isascii():
        _check_unicode(key)
    return key


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ResolutionError(
            f"a text is not valid Unicode: a lone surrogate stands at character {error.start + 1}"
        ) from None


def _write(value: Json, out: list[str], depth: int) -> None:
    if isinstance(value, str):
        out.append(encode_basestring(value))
    elif value is None:
        out.append("null")
    elif isinstance(value, bool):
        out.append("true" if value else "false")
    elif isinstance(value, (int, float)):
        out.append(_number_json(value))
    elif depth >= MAX_DEPTH:
        raise ResolutionError(f"a value is nested deeper than {MAX_DEPTH} levels")
    elif isinstance(value, dict):
        mark = "{"
        for key in sorted(value):
            out.append(mark)
            out.append(encode_basestring(key))
            out.append(":")
            _write(value[key], out, depth + 1)
            mark = ","
        out.append("}" if value else "{}")
    else:
        mark = "["
        for item in value:
            out.append(mark)
            _write(item, out, depth + 1)
            mark = ","
        out.append("]" if value else "[]")


def _number_json(number: int | float) -> str:
    if isinstance(number, int) and -_EXACT <= number <= _EXACT:
        return str(number)
    double = _double(number)
    size = abs(double)
    if size >= _EXPONENT_FROM or 0 < size < _EXPONENT_BELOW:
        return repr(double).replace("e-0", "e-")
    return number_text(double)


def _kind(type_name: str) -> str:
    kind = _LEGACY.get(type_name, type_name)
    if kind not in _EXPECTED:
        raise ResolutionError(f"the parameter type {type_name!r} is not known")
    return kind


def _fits(value: Json, kind: str) -> bool:
    match kind:
        case "STRING":
            return isinstance(value, str)
        case "NUMBER_INTEGER":
            return not isinstance(value, bool) and (
                isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            )
        case "NUMBER_DOUBLE":
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        case "BOOLEAN":
            return isinstance(value, bool)
        case "LIST":
            return isinstance(value, list)
        case _:
            return isinstance(value, dict)


def _parse_integer(text: str) -> Json:
    """Go's ParseInt in base 10, 64 bits, then a double. No int() of many digits, which would be quadratic."""
    found = _GO_INTEGER.fullmatch(text)
    if found is None or not text[-1:].isdigit():
        return None
    number = int(found[1] or "0")
    if text.startswith("-"):
        number = -number
    return _number(number) if -(2**63) <= number < 2**63 else None


def _parse_double(text: str) -> Json:
    """Go's ParseFloat; what overflows, and NaN and infinity, which no JSON carries, are not numbers here."""
    if _GO_FLOAT.fullmatch(text):
        double = float(text)
    elif _GO_HEX_FLOAT.fullmatch(text):
        try:
            double = float.fromhex(text)
        except OverflowError:
            return None
    else:
        return None
    return _number(double) if math.isfinite(double) else None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


# parse_int=float keeps a million digits from the quadratic int(); normalize makes integers of them again.
_DECODER: Final = json.JSONDecoder(parse_int=float, parse_constant=_refuse_constant)
