"""Conditions and selectors: KFP's CEL, where an error is an error and never false."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ResolutionError
from penstock.model import Json
from penstock.planner.expressions import (
    MAX_CHAIN,
    MAX_LENGTH,
    MAX_NESTING,
    evaluate_condition,
    explain,
    select,
)
from penstock.planner.values import go_json, parse_json, to_text
from tests.unit.planner.vectors import read_vectors

X = "inputs.parameter_values['x']"
ERROR = "error"


def outcome(expression: str, inputs: Mapping[str, Json], *, legacy: bool = False) -> bool | str:
    try:
        return evaluate_condition(expression, inputs, legacy=legacy)
    except ResolutionError:
        return ERROR


def test_conditions_agree_with_the_reference_implementation() -> None:
    checked = 0
    for line in read_vectors("cel.jsonl").splitlines():
        vector = cast("dict[str, Any]", json.loads(line))
        if vector["kind"] != "cond":
            continue
        given_inputs = json.loads(vector["input"])["inputs"]
        old = {name: _legacy_value(value) for name, value in given_inputs.get("parameters", {}).items()}
        inputs = {**given_inputs.get("parameterValues", {}), **old}
        assert outcome(vector["expr"], inputs, legacy=bool(old)) is vector.get("result", ERROR), line
        checked += 1
    assert checked > 200


def _legacy_value(value: Mapping[str, str]) -> Json:
    return int(value["intValue"]) if "intValue" in value else value["stringValue"]


def test_selectors_agree_with_the_reference_implementation() -> None:
    checked = 0
    for line in read_vectors("cel.jsonl").splitlines():
        vector = cast("dict[str, Any]", json.loads(line))
        if vector["kind"] != "select":
            continue
        try:
            found: Json = select(vector["expr"], parse_json(vector["input"]))
        except ResolutionError:
            assert "err" in vector, line
        else:
            assert "result" in vector, line
            assert go_json(found) == go_json(vector["result"]), line
        checked += 1
    assert checked > 40


def test_texts_agree_with_the_reference_implementation() -> None:
    checked = 0
    for line in read_vectors("cel.jsonl").splitlines():
        vector = cast("dict[str, Any]", json.loads(line))
        if vector["kind"] != "text":
            continue
        value = parse_json(vector["input"])
        assert to_text(value) == vector["text"], line
        assert go_json(value) == _as_go_json(vector["protojson"]), line
        checked += 1
    assert checked > 10


def _as_go_json(protojson: str) -> str:
    """protojson leaves `<>&` alone; KFP passes it through encoding/json, which does not."""
    return protojson.translate({ord(char): f"\\u{ord(char):04x}" for char in "<>&"})


@pytest.mark.parametrize(
    ("expression", "x", "expected"),
    [
        (f"{X} == 'heads'", "heads", True),
        (f"{X} == 'heads'", "it's", False),
        (f"{X} != 'heads'", None, True),
        (f"{X} == '5'", 5, False),
        (f"{X} == 5", 5, True),
        (f"{X} == 5", "5", False),
        (f"{X} == true", "true", False),
        (f"!({X} == true)", True, False),
        (f"int({X}) == 5", 5.5, True),
        (f"int({X}) > 5", "123", True),
        (f"{X} > 4.5", 5, True),
        (f"{X} in ['a', 'b']", "b", True),
        (f"size({X}) > 0", [], False),
        (f'parseJson({X})["a"] == 1', '{"a": 1}', True),
        (f"int({X}) > 5", "heads", ERROR),
        (f"int({X}) > 5", True, ERROR),
        (f"int({X}) > 5", 1e21, ERROR),
        (f"{X} > 4.5", "5", ERROR),
        (f"{X} > 4.5", None, ERROR),
        (f"size({X}) > 0", 1, ERROR),
        (f"{X} == 'it's'", "it's", ERROR),
        (f"parseJson({X}) == 1", "{", ERROR),
        (f"parseJson({X}) == 1", 1, ERROR),
        (f"{X} % 2 == 0", 4, ERROR),
        (X, "true", ERROR),
        ("", "true", ERROR),
        ("outputs.x == 1", "true", ERROR),
        ("inputs.parameters['x'].string_value == 'a'", "a", ERROR),
    ],
)
def test_a_condition_is_true_false_or_an_error(expression: str, x: Json, expected: bool | str) -> None:
    assert outcome(expression, {"x": x}) is expected


@pytest.mark.parametrize(
    ("expression", "x", "expected"),
    [
        ("inputs.parameters['x'].string_value == 'a'", "a", True),
        ("inputs.parameters['x'].int_value == 5", 5, True),
        ("inputs.parameters['x'].double_value > 5.1", 5.5, True),
        ("inputs.parameters['x'].int_value == 5", 5.5, ERROR),
        ("inputs.parameters['x'].int_value == 0", "a", ERROR),
        ("inputs.parameters['y'].string_value == 'a'", "a", ERROR),
    ],
)
def test_conditions_of_schema_2_0_0_see_the_legacy_fields(
    expression: str, x: Json, expected: bool | str
) -> None:
    assert outcome(expression, {"x": x}, legacy=True) is expected


def test_a_missing_parameter_is_an_error_that_names_it() -> None:
    with pytest.raises(ResolutionError, match="there is no 'x'"):
        evaluate_condition(f"{X} == 'a'", {"y": "a"})


def test_the_message_names_the_expression_and_the_values_it_saw() -> None:
    with pytest.raises(ResolutionError) as caught:
        evaluate_condition(f"int({X}) > 5", {"x": "heads", "z": "unseen"})
    message = str(caught.value)
    assert f"int({X}) > 5" in message
    assert "it saw x = 'heads'" in message
    assert "unseen" not in message
    assert "\n" not in message


def test_the_message_stays_short_whatever_the_value() -> None:
    with pytest.raises(ResolutionError) as caught:
        evaluate_condition(f"{X} > 5", {"x": "y" * 1_000_000})
    assert len(str(caught.value)) < 500


def test_a_condition_that_gives_no_boolean_is_an_error() -> None:
    with pytest.raises(ResolutionError, match="gives 'heads', not true or false"):
        evaluate_condition(X, {"x": "heads"})


@pytest.mark.parametrize(
    "value",
    ["a' or 'b'=='b", "') || true || ('", '"', "x\ny", "{{$.inputs.parameters['x']}}", "\\", "' == '"],
)
def test_a_value_never_becomes_code(value: str) -> None:
    assert evaluate_condition(f"{X} == 'x'", {"x": value}) is False
    assert evaluate_condition(f"{X} != 'x'", {"x": value}) is True


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_equality_of_texts_is_equality(x: str, y: str) -> None:
    expression = f"{X} == inputs.parameter_values['y']"
    assert evaluate_condition(expression, {"x": x, "y": y}) is (x == y)


@pytest.mark.parametrize(
    ("expression", "value", "expected"),
    [
        ('parseJson(string_value)["a"]', {"a": 1.0}, 1),
        ('parseJson(string_value)["a"]', '{"a": {"b": [1.5, true, null]}}', {"b": [1.5, True, None]}),
        ("parseJson(string_value)['it\\'s']", {"it's": "x"}, "x"),
        ("string_value", {"b": 1, "a": "<"}, '{"a":"\\u003c","b":1}'),
        ("string_value", True, "true"),
        ("number_value", 5, 5),
        ("bool_value", False, False),
        ("struct_value.a", {"a": [1]}, [1]),
        ("list_value[0]", [7], 7),
    ],
)
def test_a_selector_takes_a_part_of_a_value(expression: str, value: Json, expected: Json) -> None:
    found = select(expression, value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ('parseJson(string_value)["a"]', "plain"),
        ('parseJson(string_value)["a"]', [1]),
        ('parseJson(string_value)["a"]', {"b": 1}),
        ('parseJson(string_value)["a"]', 5),
        ("number_value", "5"),
        ("bool_value", 1),
        ("b'bytes'", 1),
        ("nothing", 1),
    ],
)
def test_a_selector_that_finds_nothing_is_an_error(expression: str, value: Json) -> None:
    with pytest.raises(ResolutionError, match="it saw the value = "):
        select(expression, value)


def test_a_failing_parse_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ResolutionError, match="argument of parseJson is not JSON"):
        select('parseJson(string_value)["a"]', "plain")
    assert capfd.readouterr() == ("", "")


def test_explain_says_what_the_condition_came_to_and_why() -> None:
    assert explain(f"{X} == 'heads'", {"x": "tails", "y": 1}) == f"{X} == 'heads' was false with x = 'tails'"
    assert explain(f"{X} > 4", {"x": 5}) == f"{X} > 4 was true with x = 5"
    assert explain("1 == 1", {"x": 5}) == "1 == 1 was true"
    assert "cannot be evaluated: there is no 'x'" in explain(f"{X} == 'a'", {})


def test_an_expression_may_look_at_all_parameters() -> None:
    assert evaluate_condition("size(inputs.parameter_values) == 2", {"a": 1, "b": 2})
    assert evaluate_condition(
        "inputs.parameter_values.a == 1 && 'b' in inputs.parameter_values", {"a": 1, "b": 2}
    )


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("true" + " " * MAX_LENGTH, "the limit is"),
        ("(" * (MAX_NESTING + 1) + "true" + ")" * (MAX_NESTING + 1), "nests brackets"),
        ("[" * 5000 + "]" * 5000, "nests brackets"),
        ("+".join(["1"] * (MAX_CHAIN + 2)) + " > 1", "chains more than"),
        ("x" + ".a" * 5000, "chains more than"),
        ("[1,2,3].all(a, inputs.parameter_values['x'].all(b, b == a))", "visit more than"),
    ],
)
def test_an_expression_beyond_the_limits_is_refused(expression: str, sentence: str) -> None:
    with pytest.raises(ResolutionError, match=sentence):
        evaluate_condition(expression, {"x": list(range(2000))})


def test_brackets_and_operators_in_a_text_do_not_count_as_nesting() -> None:
    text = "(" * 100 + "+.,!" * 100
    assert evaluate_condition(f"{X} == '{text}'", {"x": text})
    assert evaluate_condition(f'{X} == "{text}"', {"x": text})
    assert evaluate_condition(f"{X} == '\\'{text}'", {"x": f"'{text}"})


def test_a_chain_of_a_hundred_branches_is_within_the_limits_even_on_a_small_stack() -> None:
    expression = " && ".join(f"!({X} == '{number}')" for number in range(100))
    results: list[bool] = []
    before = threading.stack_size(512 * 1024)
    try:
        thread = threading.Thread(target=lambda: results.append(evaluate_condition(expression, {"x": "no"})))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert results == [True]


def test_ten_thousand_conditions_beside_a_long_list_are_cheap() -> None:
    inputs: dict[str, Json] = {"x": "heads", "items": list(range(10_000))}
    begin = time.perf_counter()
    for _ in range(10_000):
        evaluate_condition(f"{X} == 'heads'", inputs)
    assert time.perf_counter() - begin < 5
