"""The random pipelines of `worlds` as IR, for whoever reads pipelines from documents."""

from __future__ import annotations

import json

from penstock.model import (
    Component,
    ComponentInput,
    Constant,
    Dag,
    DagOutput,
    Json,
    JsonObject,
    ParameterLoop,
    ParameterSource,
    Pipeline,
    Task,
    TaskOutput,
)


def document(pipeline: Pipeline) -> JsonObject:
    return {
        "pipelineInfo": {"name": pipeline.name},
        "schemaVersion": pipeline.schema_version,
        "root": _component(pipeline.root),
        "components": {name: _component(one) for name, one in pipeline.components.items()},
        "deploymentSpec": {
            "executors": {"exec-leaf": {"container": {"image": "python:3.11", "command": ["true"]}}}
        },
    }


def _component(component: Component) -> JsonObject:
    interface = component.interface
    body: JsonObject = (
        {"dag": _dag(component.body)}
        if isinstance(component.body, Dag)
        else {"executorLabel": component.body}
    )
    return {
        **body,
        "inputDefinitions": {
            "parameters": {
                name: {"parameterType": one.type.value, **({"isOptional": True} if one.optional else {})}
                for name, one in interface.input_parameters.items()
            }
        },
        "outputDefinitions": {
            "parameters": {
                name: {"parameterType": one.type.value} for name, one in interface.output_parameters.items()
            }
        },
    }


def _dag(dag: Dag) -> JsonObject:
    return {
        "tasks": {name: _task(one) for name, one in dag.tasks.items()},
        "outputs": {"parameters": {name: _selectors(one) for name, one in dag.parameters.items()}},
    }


def _selectors(chosen: DagOutput) -> JsonObject:
    found: list[Json] = [
        {"producerSubtask": one.task, "outputParameterKey": one.output} for one in chosen.selectors
    ]
    return (
        {"valueFromOneof": {"parameterSelectors": found}}
        if chosen.one_of
        else {"valueFromParameter": found[0]}
    )


def _task(task: Task) -> JsonObject:
    found: JsonObject = {
        "taskInfo": {"name": task.name},
        "componentRef": {"name": task.component},
        "dependentTasks": list(task.upstream),
        "inputs": {"parameters": {name: _source(one) for name, one in task.parameters.items()}},
        "triggerPolicy": {"condition": task.trigger.condition, "strategy": task.trigger.strategy.value},
    }
    if task.retry is not None:
        found["retryPolicy"] = {"maxRetryCount": task.retry.max_retries, "backoffDuration": "0s"}
    if isinstance(task.loop, ParameterLoop):
        found["parameterIterator"] = {
            "itemInput": task.loop.item,
            "items": {"raw": json.dumps(task.loop.raw)},
        }
        if task.loop.parallelism:
            found["iteratorPolicy"] = {"parallelismLimit": task.loop.parallelism}
    return found


def _source(source: ParameterSource) -> JsonObject:
    match source.origin:
        case Constant(value):
            return {"runtimeValue": {"constant": value}}
        case ComponentInput(name):
            return {"componentInputParameter": name}
        case TaskOutput(task, output):
            return {"taskOutputParameter": {"producerTask": task, "outputParameterKey": output}}
        case other:
            raise AssertionError(f"the random pipelines have no {other}")
