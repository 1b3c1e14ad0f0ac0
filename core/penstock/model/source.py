"""Where a task's inputs come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from penstock.model.value import Json


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal. A text may hold run-level and input placeholders (an f-string in the author's pipeline)."""

    value: Json


@dataclass(frozen=True, slots=True)
class RuntimeParameter:
    """SDK 1.8's `runtimeValue.runtimeParameter`: an argument of the run, by name."""

    name: str


@dataclass(frozen=True, slots=True)
class ComponentInput:
    """An input of the DAG that the task stands in."""

    name: str


@dataclass(frozen=True, slots=True)
class TaskOutput:
    """An output of another task of the same DAG; for a loop, the list collected over its iterations."""

    task: str
    output: str


@dataclass(frozen=True, slots=True)
class FinalStatus:
    """The `PipelineTaskFinalStatus` of another task of the same DAG."""

    task: str


@dataclass(frozen=True, slots=True)
class ParameterSource:
    """`selector` is a CEL expression applied to the value found, such as `parseJson(string_value)["a"]`."""

    origin: Constant | RuntimeParameter | ComponentInput | TaskOutput | FinalStatus
    selector: str = ""


ArtifactSource: TypeAlias = ComponentInput | TaskOutput


@dataclass(frozen=True, slots=True)
class OutputSelector:
    """An output of a task inside a DAG, offered as an output of that DAG."""

    task: str
    output: str


@dataclass(frozen=True, slots=True)
class DagOutput:
    """One selector: that output. Several (`OneOf`): the first whose task succeeded."""

    selectors: tuple[OutputSelector, ...]
    one_of: bool = False
