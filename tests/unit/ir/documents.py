"""Small pipelines as documents, and what loading a wrong one says."""

from __future__ import annotations

import copy
import json
from typing import Any, TypeAlias, cast

import pytest

from penstock.errors import InvalidPipelineError
from penstock.ir import load

Document: TypeAlias = dict[str, Any]


def hello() -> Document:
    """Two tasks: `greet` writes a text and a model, `use` reads both. One parameter, `name`."""
    return {
        "pipelineInfo": {"name": "hello"},
        "schemaVersion": "2.1.0",
        "sdkVersion": "kfp-2.17.0",
        "deploymentSpec": {
            "executors": {
                "exec-greet": {"container": {"image": "python:3.11", "command": ["greet"]}},
                "exec-use": {"container": {"image": "python:3.11", "command": ["use"]}},
            }
        },
        "components": {
            "comp-greet": {
                "executorLabel": "exec-greet",
                "inputDefinitions": {"parameters": {"name": {"parameterType": "STRING"}}},
                "outputDefinitions": {
                    "parameters": {"text": {"parameterType": "STRING"}},
                    "artifacts": {"model": {"artifactType": artifact("system.Model")}},
                },
            },
            "comp-use": {
                "executorLabel": "exec-use",
                "inputDefinitions": {
                    "parameters": {"text": {"parameterType": "STRING"}},
                    "artifacts": {"model": {"artifactType": artifact("system.Model")}},
                },
            },
        },
        "root": {
            "inputDefinitions": {"parameters": {"name": {"parameterType": "STRING"}}},
            "dag": {
                "tasks": {
                    "greet": {
                        "taskInfo": {"name": "greet"},
                        "componentRef": {"name": "comp-greet"},
                        "inputs": {"parameters": {"name": {"componentInputParameter": "name"}}},
                    },
                    "use": {
                        "taskInfo": {"name": "use"},
                        "componentRef": {"name": "comp-use"},
                        "inputs": {
                            "parameters": {"text": output("greet", "text")},
                            "artifacts": {
                                "model": {
                                    "taskOutputArtifact": {
                                        "producerTask": "greet",
                                        "outputArtifactKey": "model",
                                    }
                                }
                            },
                        },
                    },
                }
            },
        },
    }


def artifact(title: str) -> Document:
    return {"schemaTitle": title, "schemaVersion": "0.0.1"}


def output(task: str, key: str) -> Document:
    return {"taskOutputParameter": {"producerTask": task, "outputParameterKey": key}}


def constant(value: object) -> Document:
    return {"runtimeValue": {"constant": value}}


def tasks(document: Document) -> Document:
    return cast("Document", document["root"]["dag"]["tasks"])


def leaf(
    *parameters: str, outputs: tuple[str, ...] = (), kind: str = "NUMBER_INTEGER", label: str = "exec-use"
) -> Document:
    """A component with required parameters of one type."""
    return {
        "executorLabel": label,
        "inputDefinitions": {"parameters": {name: {"parameterType": kind} for name in parameters}},
        "outputDefinitions": {"parameters": {name: {"parameterType": kind} for name in outputs}},
    }


def looped(iterator: Document, **task: Any) -> Document:
    """`hello` and a loop over a component with the input `item`."""
    document = hello()
    document["components"]["comp-loop"] = {
        "dag": {
            "tasks": {
                "body": {
                    "componentRef": {"name": "comp-body"},
                    "inputs": {"parameters": {"item": {"componentInputParameter": "item"}}},
                }
            }
        },
        "inputDefinitions": {"parameters": {"item": {"parameterType": "NUMBER_INTEGER"}}},
    }
    document["components"]["comp-body"] = leaf("item")
    tasks(document)["loop"] = {
        "componentRef": {"name": "comp-loop"},
        "parameterIterator": {"itemInput": "item", "items": iterator},
        **task,
    }
    return document


def refusal(document: object) -> str:
    """What loading it says. A text is the document itself."""
    text = document if isinstance(document, (str, bytes)) else json.dumps(document)
    with pytest.raises(InvalidPipelineError) as caught:
        load(text)
    message = str(caught.value)
    assert message.count("\n") == 0, "one sentence"
    return message


def changed(document: Document, path: str, value: object) -> Document:
    """A copy with the value at a path (steps joined by `/`) replaced, or removed for `...`."""
    found = copy.deepcopy(document)
    *steps, last = path.split("/")
    inner: Any = found
    for step in steps:
        inner = inner[int(step)] if isinstance(inner, list) else inner[step]
    key: Any = int(last) if isinstance(inner, list) else last
    if value is ...:
        del inner[key]
    else:
        inner[key] = value
    return found
