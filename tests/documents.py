"""Small pipelines as IR documents, whose tasks are shell scripts: no SDK, no network, no Python environment.

A script finds each input parameter by value, and the path of each input artifact, output artifact and output
parameter (its folder is made), in a shell variable of that name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from penstock.model import Json, JsonObject

INT, TEXT, LIST, BOOL, STRUCT = "NUMBER_INTEGER", "STRING", "LIST", "BOOLEAN", "STRUCT"
COMPLETED = "ALL_UPSTREAM_TASKS_COMPLETED"


@dataclass(frozen=True)
class Shell:
    """A task with a component of its own. `inputs` is name to (type, source), see `given`, `output`,
    `constant`.

    `outputs` is name to type, `made` name to schema title. `command` replaces the script and its variables.
    `more` goes into the task as it stands.
    """

    name: str
    script: str = "true"
    inputs: Mapping[str, tuple[str, Json]] = field(default_factory=dict[str, tuple[str, Json]])
    artifacts: Mapping[str, Json] = field(default_factory=dict[str, Json])
    outputs: Mapping[str, str] = field(default_factory=dict[str, str])
    made: Mapping[str, str] = field(default_factory=dict[str, str])
    after: Sequence[str] = ()
    cached: bool = False
    image: str = "alpine"
    command: Sequence[str] = ()
    args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    more: Mapping[str, Json] = field(default_factory=dict[str, Json])

    def component(self) -> JsonObject:
        return {
            "executorLabel": f"exec-{self.name}",
            "inputDefinitions": {
                "parameters": {name: {"parameterType": kind} for name, (kind, _) in self.inputs.items()},
                "artifacts": {name: _artifact("system.Artifact") for name in self.artifacts},
            },
            "outputDefinitions": {
                "parameters": {name: {"parameterType": kind} for name, kind in self.outputs.items()},
                "artifacts": {name: _artifact(title) for name, title in self.made.items()},
            },
        }

    def executor(self) -> JsonObject:
        command, args = list(self.command), list(self.args)
        if not command:
            variables = {
                **{name: f"{{{{$.inputs.parameters['{name}']}}}}" for name in self.inputs},
                **{name: f"{{{{$.inputs.artifacts['{name}'].path}}}}" for name in self.artifacts},
                **{name: f"{{{{$.outputs.parameters['{name}'].output_file}}}}" for name in self.outputs},
                **{name: f"{{{{$.outputs.artifacts['{name}'].path}}}}" for name in self.made},
            }
            lines = [f"{name}=${{{number}}}" for number, name in enumerate(variables, 1)]
            lines += [f'mkdir -p "${{{name}%/*}}"' for name in self.outputs]
            command = ["sh", "-ec", "\n".join([*lines, self.script]), self.name]
            args = list(variables.values())
        env: list[Json] = [{"name": name, "value": value} for name, value in self.env.items()]
        return {"container": {"image": self.image, "command": [*command], "args": [*args], "env": env}}

    def task(self) -> JsonObject:
        return {
            **_task(self.name, {name: source for name, (_, source) in self.inputs.items()}, self.after),
            "inputs": {
                "parameters": {name: source for name, (_, source) in self.inputs.items()},
                "artifacts": dict(self.artifacts),
            },
            "cachingOptions": {"enableCache": True} if self.cached else {},
            **self.more,
        }


@dataclass(frozen=True)
class Group:
    """A task whose component is a DAG of others; with `items` a loop over them, whose item is the input
    `item`.
    """

    name: str
    tasks: Sequence[Shell | Group]
    inputs: Mapping[str, tuple[str, Json]] = field(default_factory=dict[str, tuple[str, Json]])
    outputs: Mapping[str, tuple[str, str, str]] = field(default_factory=dict[str, tuple[str, str, str]])
    items: Json = None
    after: Sequence[str] = ()
    more: Mapping[str, Json] = field(default_factory=dict[str, Json])

    def component(self) -> JsonObject:
        declared = {name: kind for name, (kind, _) in self.inputs.items()}
        if self.items is not None:
            declared["item"] = TEXT
        return dag(
            self.tasks, {name: {"parameterType": kind} for name, kind in declared.items()}, self.outputs
        )

    def task(self) -> JsonObject:
        loop: JsonObject = {}
        if self.items is not None:
            loop["parameterIterator"] = {"itemInput": "item", "items": {"raw": json.dumps(self.items)}}
        found = _task(self.name, {name: source for name, (_, source) in self.inputs.items()}, self.after)
        return {**found, **loop, **self.more}


def constant(value: Json) -> Json:
    return {"runtimeValue": {"constant": value}}


def given(name: str) -> Json:
    return {"componentInputParameter": name}


def output(task: str, name: str) -> Json:
    return {"taskOutputParameter": {"producerTask": task, "outputParameterKey": name}}


def made_by(task: str, name: str) -> Json:
    return {"taskOutputArtifact": {"producerTask": task, "outputArtifactKey": name}}


def when(condition: str, strategy: str = "") -> JsonObject:
    """For `more`: the condition, and whether the task runs although upstream failed."""
    policy: JsonObject = {"condition": condition} if condition else {}
    return {"triggerPolicy": {**policy, **({"strategy": strategy} if strategy else {})}}


def retries(count: int, seconds: float = 0.0) -> JsonObject:
    """For `more`."""
    return {"retryPolicy": {"maxRetryCount": count, "backoffDuration": f"{seconds:g}s", "backoffFactor": 1.0}}


def dag(
    tasks: Sequence[Shell | Group],
    parameters: Mapping[str, Json] | None = None,
    outputs: Mapping[str, tuple[str, str, str]] | None = None,
) -> JsonObject:
    """`outputs` is name to (type, task, its output); a type with a dot is that of an artifact."""
    selected = outputs or {}
    return {
        "dag": {
            "tasks": {one.name: one.task() for one in tasks},
            "outputs": {
                "parameters": {
                    name: {"valueFromParameter": {"producerSubtask": task, "outputParameterKey": key}}
                    for name, (kind, task, key) in selected.items()
                    if "." not in kind
                },
                "artifacts": {
                    name: {"artifactSelectors": [{"producerSubtask": task, "outputArtifactKey": key}]}
                    for name, (kind, task, key) in selected.items()
                    if "." in kind
                },
            },
        },
        "inputDefinitions": {"parameters": dict(parameters or {})},
        "outputDefinitions": {
            "parameters": {
                name: {"parameterType": kind} for name, (kind, _, _) in selected.items() if "." not in kind
            },
            "artifacts": {name: _artifact(kind) for name, (kind, _, _) in selected.items() if "." in kind},
        },
    }


def pipeline(
    name: str,
    *tasks: Shell | Group,
    inputs: Mapping[str, Json] | None = None,
    outputs: Mapping[str, tuple[str, str, str]] | None = None,
) -> JsonObject:
    """`inputs` is name to type, or to the whole definition of the parameter."""
    every = list(_flat(tasks))
    definitions: dict[str, Json] = {
        key: {"parameterType": kind} if isinstance(kind, str) else kind
        for key, kind in (inputs or {}).items()
    }
    return {
        "pipelineInfo": {"name": name},
        "schemaVersion": "2.1.0",
        "sdkVersion": "kfp-2.14.3",
        "root": dag(tasks, definitions, outputs),
        "components": {f"comp-{one.name}": one.component() for one in every},
        "deploymentSpec": {
            "executors": {f"exec-{one.name}": one.executor() for one in every if isinstance(one, Shell)}
        },
    }


def write(document: JsonObject, path: Path) -> Path:
    path.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def _flat(tasks: Sequence[Shell | Group]) -> Sequence[Shell | Group]:
    found: list[Shell | Group] = []
    for one in tasks:
        found.append(one)
        if isinstance(one, Group):
            found.extend(_flat(one.tasks))
    return found


def _task(name: str, parameters: Mapping[str, Json], after: Sequence[str]) -> JsonObject:
    return {
        "taskInfo": {"name": name},
        "componentRef": {"name": f"comp-{name}"},
        "dependentTasks": list(after),
        "inputs": {"parameters": dict(parameters)},
    }


def _artifact(title: str) -> JsonObject:
    return {"artifactType": {"schemaTitle": title, "schemaVersion": "0.0.1"}}
