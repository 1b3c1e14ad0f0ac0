"""Values: protobuf numbers, Go's JSON, KFP's conversions between text and typed values."""

from __future__ import annotations

import json
import math
import time
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ResolutionError
from penstock.model import Json
from penstock.planner.values import (
    MAX_DEPTH,
    coerce,
    excerpt,
    go_json,
    matches,
    normalize,
    number_text,
    parse_json,
    text_to_value,
    to_text,
)

texts = st.text(st.characters(codec="utf-8"))
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def nested(depth: int) -> Json:
    value: Json = "core"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [
        (2.0, 2),
        (2.5, 2.5),
        (2**53 + 1, 2**53),
        (-(2**53) - 1, -(2**53)),
        (123456789012345678, 123456789012345680),
        (1e21, 1e21),
        (10**21, 1e21),
        ((1, 2.0), [1, 2]),
        ({"a": [1.0, {"b": 2.0}]}, {"a": [1, {"b": 2}]}),
    ],
)
def test_numbers_are_protobuf_doubles(given_value: object, expected: Json) -> None:
    found = normalize(given_value)
    assert found == expected
    assert type(found) is type(expected)


def test_an_integral_double_inside_a_list_becomes_an_int() -> None:
    found = cast("list[Json]", normalize([1.0, -3.0]))
    assert [type(item) for item in found] == [int, int]


def test_true_is_not_the_number_one() -> None:
    assert normalize(True) is True
    assert go_json([True, 1]) == "[true,1]"


def test_negative_zero_keeps_its_sign() -> None:
    assert math.copysign(1, cast("float", normalize(-0.0))) == -1
    assert go_json(-0.0) == "-0"
    assert number_text(-0.0) == "-0"


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (math.nan, "nan cannot be a parameter"),
        ([{"a": math.inf}], "inf cannot be a parameter"),
        (10**400, "beyond 1.8e308"),
        ({1: "a"}, "keys must be strings"),
        ("a\ud800", "lone surrogate stands at character 2"),
        ({"\udfff": 1}, "lone surrogate"),
        (b"x", "bytes is not JSON"),
        ({"a": object()}, "object is not JSON"),
        (nested(MAX_DEPTH + 1), "nested deeper"),
    ],
)
def test_what_protobuf_cannot_carry_is_refused(value: object, sentence: str) -> None:
    with pytest.raises(ResolutionError, match=sentence):
        normalize(value)
    with pytest.raises(ResolutionError, match=f"^input 'x': .*{sentence}"):
        normalize(value, where="input 'x'")


def test_nesting_up_to_the_limit_is_carried() -> None:
    value = nested(MAX_DEPTH)
    assert parse_json(go_json(normalize(value))) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e21, "1e+21"),
        (1e20, "100000000000000000000"),
        (2**69, "590295810358705700000"),
        (1.5e300, "1.5e+300"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (1.25e-10, "1.25e-10"),
        (0.1, "0.1"),
        (1e16, "10000000000000000"),
        (5.0, "5"),
        (-3, "-3"),
        ("é\x7f", '"é\x7f"'),
        ('q"\\/\b\f\n\r\t\x01', '"q\\"\\\\/\\b\\f\\n\\r\\t\\u0001"'),
        ("<&>\u2028\u2029", '"\\u003c\\u0026\\u003e\\u2028\\u2029"'),
        ({"<k>": None, "B": [], "a": {}}, '{"\\u003ck\\u003e":null,"B":[],"a":{}}'),
        ({"b": 1, "a": [True, {"z": 1.0}]}, '{"a":[true,{"z":1}],"b":1}'),
    ],
)
def test_json_is_written_as_go_writes_it(value: Json, text: str) -> None:
    assert go_json(value) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (5.0, "5"),
        (5.5, "5.5"),
        (1e21, "1000000000000000000000"),
        (1e-7, "0.0000001"),
        (2**69, "590295810358705700000"),
        (1.5e22, "15000000000000000000000"),
        (-0.25, "-0.25"),
    ],
)
def test_numbers_in_placeholders_never_have_an_exponent(number: float, text: str) -> None:
    assert number_text(number) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), ("s", "s"), (True, "true"), (1.0, "1"), ([1, 2.0, "a", None], '[1,2,"a",null]')],
)
def test_a_string_input_takes_any_value_as_text(value: Json, text: str) -> None:
    assert to_text(value) == text
    assert coerce(value, "STRING", where="input 'x'") == text


@pytest.mark.parametrize(
    ("text", "type_name", "value"),
    [
        (" 5\n", "STRING", " 5\n"),
        (" +5\n", "NUMBER_INTEGER", 5),
        ("007", "INT", 7),
        ("-9223372036854775808", "NUMBER_INTEGER", -(2**63)),
        ("9007199254740993", "NUMBER_INTEGER", 2**53),
        ("1e3", "NUMBER_DOUBLE", 1000),
        (" .5 ", "DOUBLE", 0.5),
        ("5.", "NUMBER_DOUBLE", 5),
        ("0x1p-2", "NUMBER_DOUBLE", 0.25),
        ("T\n", "BOOLEAN", True),
        ("False", "BOOLEAN", False),
        ("0", "BOOLEAN", False),
        (" [1.0, 2] ", "LIST", [1, 2]),
        ('{"a": "<"}', "STRUCT", {"a": "<"}),
    ],
)
def test_an_output_file_is_read_by_its_declared_type(text: str, type_name: str, value: Json) -> None:
    found = text_to_value(text, type_name)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "type_name"),
    [
        ("", "NUMBER_INTEGER"),
        ("+", "NUMBER_INTEGER"),
        ("5.0", "NUMBER_INTEGER"),
        ("1_000", "NUMBER_INTEGER"),
        ("٣", "NUMBER_INTEGER"),
        ("9223372036854775808", "NUMBER_INTEGER"),
        ("nan", "NUMBER_DOUBLE"),
        ("Infinity", "NUMBER_DOUBLE"),
        ("1e999", "NUMBER_DOUBLE"),
        ("0x1p99999", "NUMBER_DOUBLE"),
        ("1,5", "NUMBER_DOUBLE"),
        ("tRUE", "BOOLEAN"),
        ("yes", "BOOLEAN"),
        ("\x1c1", "BOOLEAN"),
        ("{}", "LIST"),
        ("[]", "STRUCT"),
        ("[NaN]", "LIST"),
        ("[1e999]", "LIST"),
        ("{'a': 1}", "STRUCT"),
        ('["\\ud800"]', "LIST"),
        ("[" * 100_000, "LIST"),
        ("{}", "TASK_CONFIG"),
        ("x", "COLOUR"),
    ],
)
def test_an_output_file_that_does_not_fit_its_type_is_an_error(text: str, type_name: str) -> None:
    with pytest.raises(ResolutionError) as caught:
        text_to_value(text, type_name, where="output 'accuracy'")
    message = str(caught.value)
    assert message.startswith("output 'accuracy'") or "'COLOUR' is not known" in message
    assert len(message) < 300


@pytest.mark.parametrize(
    ("value", "type_name", "expected"),
    [
        (5.0, "NUMBER_INTEGER", 5),
        (5, "NUMBER_DOUBLE", 5),
        (5.5, "DOUBLE", 5.5),
        (False, "BOOLEAN", False),
        ([1.0], "LIST", [1]),
        ({"state": "COMPLETE"}, "TASK_FINAL_STATUS", {"state": "COMPLETE"}),
    ],
)
def test_an_input_of_its_declared_type_is_taken(value: Json, type_name: str, expected: Json) -> None:
    assert coerce(value, type_name, where="input 'x'") == expected
    assert matches(value, type_name)


@pytest.mark.parametrize(
    ("value", "type_name"),
    [
        (5.5, "NUMBER_INTEGER"),
        (True, "NUMBER_INTEGER"),
        (True, "NUMBER_DOUBLE"),
        ("5", "NUMBER_INTEGER"),
        (1, "BOOLEAN"),
        ("[]", "LIST"),
        ([], "STRUCT"),
        (None, "LIST"),
        (None, "NUMBER_DOUBLE"),
    ],
)
def test_an_input_of_another_type_is_an_error_that_names_it(value: Json, type_name: str) -> None:
    assert not matches(value, type_name)
    with pytest.raises(ResolutionError, match=rf"^input 'x' must be an? \w+ \({type_name}\), but is "):
        coerce(value, type_name, where="input 'x'")


def test_an_argument_for_a_string_must_be_one_at_submit_time() -> None:
    assert matches("5", "STRING")
    assert not matches(5, "STRING")
    assert not matches(None, "STRING")


def test_an_excerpt_of_a_long_value_is_short() -> None:
    assert len(excerpt("x" * 10_000_000)) < 100
    assert len(excerpt(["x" * 100] * 1000)) < 100
    assert excerpt({"a": 'it"s'}) == '{"a": "it\\"s"}'


@pytest.mark.parametrize(
    ("text", "type_name"),
    [
        ("9" * 2_000_000, "NUMBER_INTEGER"),
        ("9" * 2_000_000, "NUMBER_DOUBLE"),
        ("9" * 2_000_000 + "x", "NUMBER_DOUBLE"),
        ("0x" + "9" * 2_000_000, "NUMBER_DOUBLE"),
        ("[" + "9" * 2_000_000 + "]", "LIST"),
    ],
)
def test_a_huge_number_is_refused_quickly(text: str, type_name: str) -> None:
    begin = time.perf_counter()
    with pytest.raises(ResolutionError):
        text_to_value(text, type_name)
    assert time.perf_counter() - begin < 2


@given(values)
def test_go_json_round_trips_every_value(value: Json) -> None:
    try:
        expected = normalize(value)
    except ResolutionError:
        return
    assert parse_json(go_json(value)) == expected
    assert normalize(json.loads(go_json(expected))) == expected


@given(values)
def test_normalizing_twice_is_normalizing_once(value: Json) -> None:
    try:
        once = normalize(value)
    except ResolutionError:
        return
    assert repr(normalize(once)) == repr(once)


@given(texts)
def test_a_text_arrives_unchanged_through_every_conversion(text: str) -> None:
    assert to_text(text) == text
    assert text_to_value(text, "STRING") == text
    assert coerce(text, "STRING", where="input 'x'") == text
    assert parse_json(go_json([text])) == [text]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_survives_being_printed(number: float) -> None:
    assert float(number_text(number)) == number
    assert float(go_json(number)) == number
    assert "e" not in number_text(number)
