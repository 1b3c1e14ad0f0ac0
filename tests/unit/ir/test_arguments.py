"""Arguments, as KFP judges them at submit time."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.errors import InvalidArgumentError
from penstock.ir import load, parse_argument, resolve_arguments
from penstock.model import Json, ParameterType, Pipeline
from tests.unit.ir.documents import changed, hello


def pipeline(**parameters: Any) -> Pipeline:
    document = hello()
    found = document["root"]["inputDefinitions"]["parameters"]
    found["name"] = {"parameterType": "STRING", "defaultValue": "world"}
    return load(json.dumps(changed(document, "root/inputDefinitions/parameters", {**found, **parameters})))


def of(kind: str, **more: Any) -> dict[str, Any]:
    return {"parameterType": kind, **more}


def refusal(parameters: dict[str, Any], given: dict[str, Any]) -> str:
    with pytest.raises(InvalidArgumentError) as caught:
        resolve_arguments(pipeline(**parameters), given)
    return str(caught.value)


def test_defaults_are_filled_in_the_order_of_the_parameters() -> None:
    found = pipeline(b=of("NUMBER_INTEGER", defaultValue=2.0), a=of("LIST"))
    assert list(resolve_arguments(found, {"a": [1.0]}).items()) == [("name", "world"), ("b", 2), ("a", [1])]


def test_an_optional_parameter_without_value_is_left_out() -> None:
    assert resolve_arguments(pipeline(a=of("STRUCT", isOptional=True)), {}) == {"name": "world"}


def test_null_is_not_given() -> None:
    assert resolve_arguments(pipeline(), {"name": None}) == {"name": "world"}


def test_a_missing_argument() -> None:
    message = refusal({"rate": of("NUMBER_DOUBLE")}, {})
    assert message == "pipeline 'hello' needs the argument rate (NUMBER_DOUBLE): give each with -p NAME=VALUE"


def test_all_missing_arguments_at_once() -> None:
    message = refusal({"a": of("LIST"), "b": of("STRING")}, {})
    assert "needs the arguments a (LIST), b (STRING)" in message


def test_an_unknown_argument() -> None:
    message = refusal({}, {"nme": "x", "zzzz": 1})
    assert message == "pipeline 'hello' has no parameter 'nme' (did you mean 'name'?), 'zzzz': it has name"


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("STRING", 5, "must be a text, but is a number: 5"),
        ("STRING", True, "must be a text, but is a boolean: True"),
        ("NUMBER_INTEGER", "5", "must be an integer, but is a text: '5'"),
        ("NUMBER_INTEGER", 1.5, "must be an integer, but is a number: 1.5"),
        ("NUMBER_INTEGER", True, "must be an integer, but is a boolean"),
        ("NUMBER_DOUBLE", "1.5", "must be a number, but is a text"),
        ("BOOLEAN", 1, "must be a boolean (true or false), but is a number: 1"),
        ("LIST", {"a": 1}, "must be a list, but is a mapping"),
        ("STRUCT", [1], "must be a mapping, but is a list"),
    ],
)
def test_a_wrong_type(kind: str, value: object, words: str) -> None:
    assert f"argument 'x' {words}" in refusal({"x": of(kind)}, {"x": value})


@pytest.mark.parametrize(
    ("kind", "value", "found"),
    [
        ("STRING", "", ""),
        ("NUMBER_INTEGER", 5.0, 5),
        ("NUMBER_DOUBLE", 5, 5),
        ("NUMBER_DOUBLE", 2**60 + 1, 2**60),
        ("LIST", (1.0, {"a": 2.0}), [1, {"a": 2}]),
        ("STRUCT", {}, {}),
    ],
)
def test_a_fitting_type(kind: str, value: Any, found: Json) -> None:
    resolved = resolve_arguments(pipeline(x=of(kind)), {"x": value})["x"]
    assert resolved == found
    assert type(resolved) is type(found)


def test_literals() -> None:
    parameters = {"x": of("STRING", literals=["dev", "prod"])}
    assert resolve_arguments(pipeline(**parameters), {"x": "dev"})["x"] == "dev"
    assert (
        refusal(parameters, {"x": "stage"}) == "argument 'x' must be one of \"dev\", \"prod\", but is 'stage'"
    )


def test_true_is_not_the_literal_1() -> None:
    parameters = {"x": of("NUMBER_INTEGER", literals=[1, 2])}
    assert resolve_arguments(pipeline(**parameters), {"x": 1.0})["x"] == 1
    assert "must be an integer" in refusal(parameters, {"x": True})


@pytest.mark.parametrize("kind", ["TASK_FINAL_STATUS", "TASK_CONFIG"])
def test_what_only_tasks_can_have(kind: str) -> None:
    assert f"of type {kind}, which only tasks inside a pipeline can have" in refusal({"x": of(kind)}, {})
    assert resolve_arguments(pipeline(x=of(kind, isOptional=True)), {}) == {"name": "world"}


@pytest.mark.parametrize(
    "value",
    [float("nan"), [float("inf")], {"a": object()}, {1: 2}, ["\ud800"], {"\ud800": 1}, 10**400, b"bytes"],
)
def test_what_is_no_json(value: object) -> None:
    assert "x" in refusal({"x": of("LIST")}, {"x": value})


def test_bottomless_nesting() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    assert "nested deeper than 200 levels" in refusal({"x": of("LIST")}, {"x": value})
    while value:  # taken apart by hand: its destructor would recurse
        value = value.pop()


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("", "STRING", ""),
        (" a=b ", "STRING", " a=b "),
        ("5", "STRING", "5"),
        ("5", "NUMBER_INTEGER", 5),
        (" -5 ", "NUMBER_INTEGER", -5),
        ("1e3", "NUMBER_DOUBLE", 1000),
        (".5", "NUMBER_DOUBLE", 0.5),
        ("5", "NUMBER_DOUBLE", 5),
        ("true", "BOOLEAN", True),
        ("False", "BOOLEAN", False),
        ("0", "BOOLEAN", False),
        ('[1.0, "a"]', "LIST", [1, "a"]),
        ('{"a": null}', "STRUCT", {"a": None}),
    ],
)
def test_a_text_for_each_type(text: str, kind: str, value: Json) -> None:
    found = parse_argument(text, ParameterType(kind))
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("five", "NUMBER_INTEGER", "argument 'x' must be an integer, but is 'five'"),
        ("1.5", "NUMBER_INTEGER", "must be an integer"),
        ("", "NUMBER_INTEGER", "must be an integer"),
        ("1_000", "NUMBER_INTEGER", "must be an integer"),
        ("٣", "NUMBER_INTEGER", "must be an integer"),
        ("nan", "NUMBER_DOUBLE", "must be a number"),
        ("inf", "NUMBER_DOUBLE", "must be a number"),
        ("1e999", "NUMBER_DOUBLE", "not finite"),
        ("9" * 5000, "NUMBER_INTEGER", "must be an integer"),
        ("maybe", "BOOLEAN", "must be a boolean (true or false)"),
        (
            "a,b",
            "LIST",
            'must be a list as JSON, such as ["a", "b"], but \'a,b\' is not JSON (line 1, column 1)',
        ),
        ("{}", "LIST", "must be a list, but is '{}'"),
        ("[]", "STRUCT", "must be a mapping, but is '[]'"),
        ("null", "STRUCT", "must be a mapping"),
        ("[" * 5000, "LIST", "nested deeper than 200 levels"),
        ("\ud800", "STRING", "is not valid Unicode"),
        ("x", "TASK_FINAL_STATUS", "which no text can stand for"),
    ],
)
def test_a_text_of_a_wrong_type(text: str, kind: str, says: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        parse_argument(text, ParameterType(kind), "x")
    assert says in str(caught.value)
