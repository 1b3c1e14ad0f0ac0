"""Whatever is done to a document: it loads, or it is refused by InvalidPipelineError with one sentence."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import InvalidPipelineError
from penstock.ir import dump, features, load
from penstock.ir.conform import conform
from penstock.ir.fault import FaultError
from penstock.ir.schema import PIPELINE, snake_case
from tests.unit.ir.documents import constant, looped, output, tasks
from tests.unit.ir.test_reading import PLATFORM

VALUES: list[Any] = [
    *(None, True, 0, 1, -1, 2.5, 10**30, "", "x", "5", "60s", "../x", "STRING", "\0"),
    *([], ["a"], [1], [None], {}, {"a": 1}, {"name": "x"}, {"x": None}),
]


def rich() -> Any:
    """A document with about one of everything."""
    document = looped(
        {"inputParameter": "items"},
        inputs={"parameters": {"items": constant([1])}},
        iteratorPolicy={"parallelismLimit": 2},
    )
    use = tasks(document)["use"]
    use["retryPolicy"] = {"maxRetryCount": 1, "backoffDuration": "1s", "backoffFactor": 2.0}
    use["triggerPolicy"] = {"condition": "1 == 1", "strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    use["cachingOptions"] = {"enableCache": True}
    use["dependentTasks"] = ["greet"]
    document["root"]["outputDefinitions"] = {"parameters": {"text": {"parameterType": "STRING"}}}
    selector = {"producerSubtask": "greet", "outputParameterKey": "text"}
    document["root"]["dag"]["outputs"] = {
        "parameters": {"text": {"valueFromOneof": {"parameterSelectors": [selector]}}}
    }
    container = document["deploymentSpec"]["executors"]["exec-use"]["container"]
    container["resources"] = {"cpuLimit": 1.0, "accelerator": {"type": "gpu", "count": "1"}}
    container["env"] = [{"name": "A", "value": "b"}]
    document["components"]["comp-loop"]["dag"]["tasks"]["after"] = {
        "componentRef": {"name": "comp-greet"},
        "inputs": {"parameters": {"name": {"runtimeValue": {"constantValue": {"stringValue": "x"}}}}},
    }
    tasks(document)["again"] = {
        "componentRef": {"name": "comp-greet"},
        "inputs": {"parameters": {"name": output("greet", "text")}},
    }
    return document


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [path] if path else []
    for key, one in pairs:
        found += paths(one, (*path, key))
    return found


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


# Each time a value of its own: a shared list, once in a document, would be changed by later mutations.
values = st.sampled_from(VALUES).map(copy.deepcopy)


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    document = rich()
    for _ in range(draw(st.integers(1, 3))):
        choices = paths(document)
        if not choices:
            break
        *steps, key = draw(st.sampled_from(choices))
        parent = at(document, tuple(steps))
        match draw(st.integers(0, 4)):
            case 0:
                parent[key] = draw(values)
            case 1:
                del parent[key]
            case 2 if isinstance(parent, dict):
                parent[draw(st.sampled_from(["x", "name", "", "..", "type", f"{key}s"]))] = draw(values)
            case 3 if isinstance(parent, dict):
                parent[draw(st.sampled_from([snake_case(key), key.upper(), "a/b"]))] = parent.pop(key)
            case _:
                parent[key] = copy.deepcopy(at(document, draw(st.sampled_from(choices))))
    return document


def test_the_rich_document_loads() -> None:
    assert load(json.dumps(rich())).notes == ()


@given(mutated())
@settings(max_examples=400, deadline=None)
def test_a_mutated_document_loads_or_is_refused(document: Any) -> None:
    text = json.dumps(document)
    try:
        conform(document, PIPELINE)
    except FaultError:
        with pytest.raises(InvalidPipelineError):  # the fast readers take nothing that the slow one refuses
            load(text)
        return
    try:
        pipeline = load(text)
    except InvalidPipelineError as error:
        message = str(error)
        assert "has a form that cannot be read" not in message
        assert message.isprintable()
        return
    assert load(dump(pipeline)) == pipeline
    assert load(yaml.safe_dump(document, sort_keys=False)).digest == pipeline.digest
    assert features(pipeline)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_damaged_text_loads_or_is_refused(data: st.DataObject) -> None:
    text = yaml.safe_dump_all([rich(), PLATFORM]) if data.draw(st.booleans()) else json.dumps(rich())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 30)))
        pieces = st.sampled_from(
            ["", "&a ", "*a", "<<: ", "[", "]", "{", "}", "- ", ": ", "\t", "!!x ", "\0", '"', "---\n"]
        )
        text = text[:start] + data.draw(pieces | st.text(max_size=5)) + text[end:]
    with suppress(InvalidPipelineError):
        load(text)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_bytes_load_or_are_refused(content: bytes) -> None:
    with pytest.raises(InvalidPipelineError):
        load(content)
