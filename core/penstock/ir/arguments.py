"""Arguments of a run, judged when it is submitted (KFP: apiserver/template/v2_template.go)."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Final, cast

from penstock.errors import InvalidArgumentError
from penstock.ir.fault import FaultError, excerpt, kind
from penstock.ir.json_text import read_json
from penstock.ir.numbers import plain_number
from penstock.ir.yaml_stream import MAX_DEPTH
from penstock.model import InputParameter, Json, ParameterType, Pipeline

_EXPECTED: Final = {
    ParameterType.STRING: "a text",
    ParameterType.NUMBER_INTEGER: "an integer",
    ParameterType.NUMBER_DOUBLE: "a number",
    ParameterType.BOOLEAN: "a boolean (true or false)",
    ParameterType.LIST: "a list",
    ParameterType.STRUCT: "a mapping",
}
_NOT_ARGUMENTS: Final = frozenset({ParameterType.TASK_FINAL_STATUS, ParameterType.TASK_CONFIG})
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,308}")
_NUMBER: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_BOOLEANS: Final = {
    "true": True,
    "false": False,
    "1": True,
    "0": False,
    "t": True,
    "f": False,
}


def resolve_arguments(pipeline: Pipeline, given: Mapping[str, Json]) -> dict[str, Json]:
    """The arguments of a run, in the order of the pipeline's parameters: what is given, else the defaults.

    Arguments for input artifacts are not among them. None counts as not given (as in KFP's client). An
    optional parameter without value and default is left out. Raises InvalidArgumentError for what is missing,
    unknown, mistyped, or not among the literals.
    """
    declared = pipeline.root.interface.input_parameters
    if odd := [name for name in cast("Mapping[object, Json]", given) if not isinstance(name, str)]:
        raise InvalidArgumentError(f"the name of an argument must be a text, not {excerpt(odd[0])}")
    if unknown := [name for name in given if name not in declared]:
        raise InvalidArgumentError(_unknown(pipeline, unknown))
    found: dict[str, Json] = {}
    missing: list[str] = []
    for name, parameter in declared.items():
        value = given.get(name)
        if parameter.type in _NOT_ARGUMENTS:
            if value is not None or parameter.required:
                raise InvalidArgumentError(
                    f"pipeline {pipeline.name!r} has the parameter {name!r} of type {parameter.type}, "
                    "which only tasks inside a pipeline can have"
                )
        elif value is not None:
            found[name] = _checked(name, parameter, value)
        elif parameter.has_default:
            found[name] = parameter.default
        elif parameter.required:
            missing.append(f"{name} ({parameter.type})")
    if missing:
        plural = "s" if len(missing) > 1 else ""
        raise InvalidArgumentError(
            f"pipeline {pipeline.name!r} needs the argument{plural} {', '.join(missing)}: "
            "give each with -p NAME=VALUE"
        )
    return found


def parse_argument(text: str, type: ParameterType, name: str = "") -> Json:
    """The value that a text such as `5` or `[1, 2]` stands for. A STRING is the text as it is.

    Raises InvalidArgumentError, naming the argument if it has a `name`.
    """
    what = f"argument {name!r}" if name else "the argument"
    match type:
        case ParameterType.STRING:
            value: Json = text
        case ParameterType.NUMBER_INTEGER if _INTEGER.fullmatch(text.strip()):
            value = int(text)
        case ParameterType.NUMBER_DOUBLE if _NUMBER.fullmatch(text.strip()):
            value = float(text)
        case ParameterType.BOOLEAN if text.strip().lower() in _BOOLEANS:
            value = _BOOLEANS[text.strip().lower()]
        case ParameterType.LIST | ParameterType.STRUCT:
            try:
                value = read_json(text)
            except FaultError as fault:
                example = '["a", "b"]' if type is ParameterType.LIST else '{"key": "value"}'
                raise InvalidArgumentError(
                    f"{what} must be {_EXPECTED[type]} as JSON, such as {example}, "
                    f"but {excerpt(text)} {fault}"
                ) from None
        case _:
            value = None
    if value is None or not _fits(value, type):
        expected = _EXPECTED.get(type, f"of type {type}, which no text can stand for")
        raise InvalidArgumentError(f"{what} must be {expected}, but is {excerpt(text)}")
    return _normal(value, what)


def _checked(name: str, parameter: InputParameter, value: Json) -> Json:
    found = _normal(value, f"argument {name!r}")
    if not _fits(found, parameter.type):
        raise InvalidArgumentError(
            f"argument {name!r} must be {_EXPECTED[parameter.type]}, but is {kind(found)}: {excerpt(found)}"
        )
    if parameter.literals and not any(_same(found, literal) for literal in parameter.literals):
        allowed = ", ".join(json.dumps(literal, ensure_ascii=False) for literal in parameter.literals)
        raise InvalidArgumentError(f"argument {name!r} must be one of {allowed}, but is {excerpt(found)}")
    return found


def _same(value: Json, literal: Json) -> bool:
    """Equal in JSON, where true is not 1."""
    return value == literal and isinstance(value, bool) == isinstance(literal, bool)


def _unknown(pipeline: Pipeline, names: Sequence[str]) -> str:
    declared = pipeline.root.interface.input_parameters
    shown: list[str] = []
    for name in names:
        close = difflib.get_close_matches(name, declared, n=1)
        shown.append(f"{name!r} (did you mean {close[0]!r}?)" if close else repr(name))
    known = f"it has {', '.join(declared)}" if declared else "it has none"
    return f"pipeline {pipeline.name!r} has no parameter {', '.join(shown)}: {known}"


def _fits(value: Json, type: ParameterType) -> bool:
    match type:
        case ParameterType.STRING:
            return isinstance(value, str)
        case ParameterType.BOOLEAN:
            return isinstance(value, bool)
        case ParameterType.NUMBER_INTEGER:
            return not isinstance(value, bool) and (
                isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            )
        case ParameterType.NUMBER_DOUBLE:
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        case ParameterType.LIST:
            return isinstance(value, list)
        case ParameterType.STRUCT:
            return isinstance(value, dict)
        case _:
            return False


def _normal(value: object, what: str, depth: int = 0) -> Json:
    """The value as JSON with protobuf's numbers. Callers may hand in anything."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        _check_unicode(value, what)
        return value
    if isinstance(value, (int, float)):
        try:
            return plain_number(value)
        except ValueError as error:
            raise InvalidArgumentError(f"{what} cannot be passed on: {error}") from None
    if depth >= MAX_DEPTH:
        raise InvalidArgumentError(f"{what} is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        found: dict[str, Json] = {}
        for key, one in cast("Mapping[object, object]", value).items():
            if not isinstance(key, str):
                raise InvalidArgumentError(f"{what} has the key {excerpt(key)}, and keys must be texts")
            _check_unicode(key, what)
            found[key] = _normal(one, what, depth + 1)
        return found
    if isinstance(value, (list, tuple)):
        return [_normal(one, what, depth + 1) for one in cast("Sequence[object]", value)]
    raise InvalidArgumentError(f"{what} is a {type(value).__name__}, which JSON does not know")


def _check_unicode(text: str, what: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidArgumentError(f"{what} is not valid Unicode: {excerpt(text)}") from None
