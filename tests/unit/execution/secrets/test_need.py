"""Which secrets a pipeline's tasks need, and which are certain before it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from penstock.execution.secrets.need import pipeline_needs
from penstock.ir import load
from penstock.model import Json
from tests.documents import COMPLETED, TEXT, Group, Shell, constant, given, output, pipeline, when


def as_env(name: Json, key: str = "key", **more: Json) -> dict[str, Any]:
    source = constant(name) if isinstance(name, str) else name
    return {
        "secretAsEnv": [
            {"secretNameParameter": source, "keyToEnv": [{"secretKey": key, "envVar": "V"}], **more}
        ]
    }


def needs(
    *tasks: Shell | Group,
    executors: Mapping[str, Any],
    inputs: Mapping[str, Json] | None = None,
    arguments: Mapping[str, Json] | None = None,
) -> dict[str, tuple[str, bool]]:
    platform = {
        "platforms": {
            "kubernetes": {
                "deploymentSpec": {"executors": {f"exec-{name}": one for name, one in executors.items()}}
            }
        }
    }
    document = pipeline("p", *tasks, inputs=inputs)
    loaded = load(yaml.safe_dump_all([document, platform]))
    return {one.path: (str(one.need), one.certain) for one in pipeline_needs(loaded, arguments or {})}


def test_a_task_that_always_comes_up_needs_its_secret_for_certain() -> None:
    assert needs(Shell("a"), executors={"a": as_env("db")}) == {"a": ("db/key", True)}


def test_older_compilers_write_the_name_as_a_text() -> None:
    entry = {"secretName": "db", "mountPath": "/x"}
    assert needs(Shell("a"), executors={"a": {"secretAsVolume": [entry]}}) == {"a": ("db", True)}


def test_a_condition_and_all_that_follows_it_are_not_certain() -> None:
    one = as_env("db")
    found = needs(
        Shell("maybe", more=when("1 == 2")),
        Shell("after", after=["maybe"]),
        Shell("last", after=["after"]),
        Shell("exit", after=["after"], more=when("", COMPLETED)),
        Shell("beside"),
        executors=dict.fromkeys(["maybe", "after", "last", "exit", "beside"], one),
    )
    assert {name: certain for name, (_, certain) in found.items()} == {
        "maybe": False,
        "after": False,
        "last": False,
        "exit": True,
        "beside": True,
    }


def test_a_loop_is_certain_where_it_has_items() -> None:
    found = needs(
        Group("full", [Shell("a")], items=["x"]),
        Group("empty", [Shell("b")], items=[]),
        executors={"a": as_env("db"), "b": as_env("db")},
    )
    assert found == {"full/a": ("db/key", True), "empty/b": ("db/key", False)}


def test_a_name_is_followed_through_nested_pipelines() -> None:
    inner = Group("inner", [Shell("a")], inputs={"which": (TEXT, given("secret"))})
    outer = Group("outer", [inner], inputs={"secret": (TEXT, given("name"))})
    found = needs(
        outer,
        executors={"a": as_env(given("which"))},
        inputs={"name": TEXT},
        arguments={"name": "db"},
    )
    assert found == {"outer/inner/a": ("db/key", True)}


def test_a_name_that_is_not_known_yet_stands_by_its_parameter() -> None:
    found = needs(
        Shell("say", outputs={"name": TEXT}),
        Shell("a", after=["say"]),
        Shell("b"),
        executors={"a": as_env(output("say", "name")), "b": as_env(given("which"))},
        inputs={"which": TEXT},
    )
    assert found == {"a": ("<say.name>/key", False), "b": ("<which>/key", False)}


def test_a_name_that_is_null_asks_for_nothing() -> None:
    found = needs(
        Shell("a"),
        executors={"a": as_env(given("which"))},
        inputs={"which": {"parameterType": "STRING", "isOptional": True}},
        arguments={"which": None},
    )
    assert found == {}
