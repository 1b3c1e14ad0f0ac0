"""Inputs that the compiler leads nowhere (kubeflow/pipelines#13273) find what was meant."""

from __future__ import annotations

import json
from typing import Any

from penstock.ir import load
from penstock.model import Component, ComponentInput, ParameterSource, Pipeline
from tests.unit.ir.documents import Document, constant, hello, leaf, output, tasks

ITEM, INNER = "pipelinechannel--loop-item-param-1", "pipelinechannel--loop-item-param-3"
FIELD = f"{ITEM}-subvar-a"


def given(name: str) -> Document:
    return {"componentInputParameter": name}


def use(component: str, inputs: Document, **more: Any) -> Document:
    return {"componentRef": {"name": component}, "inputs": {"parameters": inputs}, **more}


def over(item: str, items: str = '["x"]') -> Document:
    return {"parameterIterator": {"itemInput": item, "items": {"raw": items}}}


def scope(tasks_: Document, *declared: str) -> Document:
    return {
        "dag": {"tasks": tasks_},
        "inputDefinitions": {"parameters": {name: {"parameterType": "STRING"} for name in declared}},
    }


def says(*channels: str) -> Document:
    text = " ".join(f"{{{{$.inputs.parameters['{one}']}}}}" for one in channels)
    return use("comp-say", {**{one: given(one) for one in channels}, "text": constant(text)})


def pipeline(root: Document, **scopes: Document) -> Document:
    document = hello()
    document["components"]["comp-say"] = leaf("text", kind="STRING")
    document["components"].update(scopes)
    tasks(document).update(root)
    return document


def loaded(document: Document) -> Pipeline:
    return load(json.dumps(document))


def source(component: Component, task: str, key: str) -> ParameterSource | None:
    assert component.dag is not None
    return component.dag.tasks[task].parameters.get(key)


def test_a_field_of_the_item_is_taken_out_of_the_item() -> None:
    found = loaded(
        pipeline(
            {"loop": use("outer", {FIELD: given(FIELD.removeprefix("pipelinechannel--"))}, **over(ITEM))},
            outer=scope({"say": says(FIELD)}, ITEM, FIELD),
        )
    )
    assert source(found.root, "loop", FIELD) is None
    assert source(found.components["outer"], "say", FIELD) == ParameterSource(
        ComponentInput(ITEM), 'parseJson(string_value)["a"]'
    )
    assert [note.partition(" leads nowhere")[0] for note in found.notes] == [
        f"root.dag.tasks.loop.inputs.parameters.{FIELD}",
        f"components.outer.dag.tasks.say.inputs.parameters.{FIELD}",
    ]


def test_an_outer_item_is_handed_down_and_an_inner_one_is_not_asked_for_outside() -> None:
    found = loaded(
        pipeline(
            {"loop": use("outer", {INNER: given(INNER.removeprefix("pipelinechannel--"))}, **over(ITEM))},
            outer=scope({"if": use("branch", {INNER: given(INNER)})}, ITEM, INNER),
            branch=scope({"again": use("inner", {}, **over(INNER))}, INNER),
            inner=scope({"say": says(ITEM, INNER)}, INNER),
        )
    )
    assert source(found.root, "loop", INNER) is None
    assert source(found.components["outer"], "if", INNER) is None
    for name, task in ("outer", "if"), ("branch", "again"), ("inner", "say"):
        assert source(found.components[name], task, ITEM) == ParameterSource(ComponentInput(ITEM))
    assert [*found.components["branch"].interface.input_parameters] == [ITEM]
    assert {*found.components["inner"].interface.input_parameters} == {ITEM, INNER}


def test_an_item_of_a_list_that_a_task_makes() -> None:
    item = "pipelinechannel--greet-text-loop-item"
    field = f"{item}-subvar-a"
    loop = use(
        "each",
        {"items": output("greet", "text"), field: output("greet", "text-loop-item-subvar-a")},
        parameterIterator={"itemInput": item, "items": {"inputParameter": "items"}},
        dependentTasks=["greet"],
    )
    each = scope({"say": says(field)}, "items", item, field)
    found = loaded(pipeline({"loop": loop}, each=each))
    assert source(found.root, "loop", field) is None
    assert source(found.components["each"], "say", field) == ParameterSource(
        ComponentInput(item), 'parseJson(string_value)["a"]'
    )


def test_a_parameter_of_the_pipeline_reaches_a_loop_inside_that_was_not_given_it() -> None:
    channel = "pipelinechannel--name"
    found = loaded(
        pipeline({"loop": use("outer", {}, **over(ITEM))}, outer=scope({"say": says(channel)}, ITEM))
    )
    assert source(found.root, "loop", channel) == ParameterSource(ComponentInput("name"))


def test_a_sound_pipeline_is_left_as_it_is() -> None:
    found = loaded(pipeline({"loop": use("outer", {}, **over(ITEM))}, outer=scope({"say": says(ITEM)}, ITEM)))
    assert found.notes == ()
    assert source(found.components["outer"], "say", ITEM) == ParameterSource(ComponentInput(ITEM))


def test_the_names_of_sdk_1_8() -> None:
    item = "pipelineparam--p-loop-item"
    found = loaded(
        pipeline(
            {"loop": use("outer", {}, **over("pipelineparam--loop-item-param-6"))},
            outer=scope(
                {"again": use("inner", {item: given(item)}, **over(item))}, "pipelineparam--loop-item-param-6"
            ),
            inner=scope({"say": says(item)}, item),
        )
    )
    assert source(found.components["outer"], "again", item) is None
    assert source(found.components["inner"], "say", item) == ParameterSource(ComponentInput(item))
