"""Cache fingerprints: KFP's, bit for bit."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any, cast

import pytest

from penstock.planner.fingerprint import (
    CacheKey,
    OutputArtifactSpec,
    custom_key_fingerprint,
    fingerprint,
)
from tests.unit.planner.vectors import read_vectors

SCHEMA = (
    "title: kfp.Model\ntype: object\nproperties:\n  framework:\n    type: string\n"
    "  framework_version:\n    type: string\n"
)
KEY = CacheKey(
    image="python:3.11",
    command=["sh", "ec"],
    args=["test"],
    input_parameters={"message": "Some string value", "num_steps": 5.0},
    input_artifacts={"dataset_two": ["2"], "dataset_one": ["1"]},
    output_parameters={"output_parameter_two": "INT", "output_parameter_one": "STRING"},
    output_artifacts={
        "model": OutputArtifactSpec("model", instance_schema=SCHEMA, metadata={"name": "model"}),
        "metrics": OutputArtifactSpec("metrics", schema_title="kfp.Metrics", metadata={"name": "metrics"}),
    },
)


def test_fingerprints_agree_with_the_reference_implementation() -> None:
    vectors = cast("list[dict[str, Any]]", json.loads(read_vectors("fingerprint.json")))
    assert vectors
    for vector in vectors:
        assert fingerprint(vector["cacheKey"]) == vector["fingerprint"]


def test_the_key_built_from_plain_arguments_has_the_reference_fingerprint() -> None:
    assert KEY.fingerprint() == "b498530c9016917298999ec0b01f364a180f8a3862bea0fa672a383ca3f22e4e"


def test_a_key_with_little_in_it_has_the_reference_fingerprint() -> None:
    key = CacheKey(
        image="python:3.11",
        command=["sh", "ec", "run"],
        input_artifacts={"dataset": ["10"]},
        output_parameters={"output_parameter": "DOUBLE"},
    )
    assert key.fingerprint() == "3d9a2a778fa3174c6cfc6e639c507c265b5f21ef6e5b1dd70b236462cc6da464"


def test_what_is_empty_is_left_out() -> None:
    assert CacheKey(image="a").message() == {"containerSpec": {"image": "a"}}
    spec = OutputArtifactSpec("o", schema_title="system.Model", schema_version="0.0.1")
    assert CacheKey(image="a", input_artifacts={"x": []}, output_artifacts={"o": spec}).message() == {
        "containerSpec": {"image": "a"},
        "inputArtifactNames": {"x": {}},
        "outputArtifactsSpec": {
            "o": {"name": "o", "type": {"schemaTitle": "system.Model", "schemaVersion": "0.0.1"}}
        },
    }


def test_a_falsy_input_parameter_is_part_of_the_key() -> None:
    message = CacheKey(
        image="a", input_parameters={"n": 0, "b": False, "s": "", "l": [], "z": None}
    ).message()
    assert message["inputParameterValues"] == {"n": 0, "b": False, "s": "", "l": [], "z": None}


@pytest.mark.parametrize(
    "other",
    [
        replace(KEY, image="python:3.12"),
        replace(KEY, args=["test", ""]),
        replace(KEY, command=["sh"], args=["ec test"]),
        replace(KEY, input_parameters={"message": "Some string value", "num_steps": "5"}),
        replace(KEY, input_artifacts={"dataset_one": ["2"], "dataset_two": ["1"]}),
        replace(KEY, output_parameters={}),
        replace(KEY, pvc_names=["data"]),
    ],
)
def test_every_part_counts(other: CacheKey) -> None:
    assert other.fingerprint() != KEY.fingerprint()


def test_the_order_of_names_and_the_kind_of_number_do_not_count() -> None:
    again = replace(
        KEY,
        input_parameters={"num_steps": 5, "message": "Some string value"},
        input_artifacts={"dataset_one": ["1"], "dataset_two": ["2"]},
    )
    assert again.fingerprint() == KEY.fingerprint()
    first = replace(KEY, pvc_names=["b", "a", "b"])
    assert first.message()["containerSpec"] == {
        "image": "python:3.11",
        "cmdArgs": ["sh", "ec", "test"],
        "pvcNames": ["a", "b"],
    }


def test_characters_that_go_escapes_are_hashed_escaped() -> None:
    expected = hashlib.sha256(
        b'{"containerSpec":{"cmdArgs":["\\u003ca \\u0026\\u0026 b\\u003e"]}}'
    ).hexdigest()
    assert fingerprint({"containerSpec": {"cmdArgs": ["<a && b>"]}}) == expected


def test_a_custom_key_counts_only_with_its_component() -> None:
    assert custom_key_fingerprint("comp-a", "k") == hashlib.sha256(b"comp-a\x00k").hexdigest()
    assert custom_key_fingerprint("comp-a", "k") != custom_key_fingerprint("comp-ak", "")
