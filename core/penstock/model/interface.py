"""What a component declares: its input and output parameters and artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from penstock.model.value import Json


class ParameterType(StrEnum):
    """KFP's `ParameterType.ParameterTypeEnum`; the legacy names INT, DOUBLE and STRING map onto it."""

    STRING = "STRING"
    NUMBER_INTEGER = "NUMBER_INTEGER"
    NUMBER_DOUBLE = "NUMBER_DOUBLE"
    BOOLEAN = "BOOLEAN"
    LIST = "LIST"
    STRUCT = "STRUCT"
    TASK_FINAL_STATUS = "TASK_FINAL_STATUS"
    TASK_CONFIG = "TASK_CONFIG"


@dataclass(frozen=True, slots=True)
class InputParameter:
    """`has_default` tells a default of null from no default. `literals`, when not empty, lists the allowed
    values.
    """

    type: ParameterType
    optional: bool = False
    has_default: bool = False
    default: Json = None
    literals: tuple[Json, ...] = ()
    description: str = ""

    @property
    def required(self) -> bool:
        return not (self.optional or self.has_default)


@dataclass(frozen=True, slots=True)
class OutputParameter:
    type: ParameterType
    description: str = ""


@dataclass(frozen=True, slots=True)
class ArtifactType:
    """A schema title such as `system.Dataset` with its version, or the text of an instance schema (SDK
    1.8).
    """

    schema_title: str = ""
    schema_version: str = ""
    instance_schema: str = ""

    @property
    def name(self) -> str:
        """The title that people know the type by."""
        return self.schema_title or "instance schema"


@dataclass(frozen=True, slots=True)
class InputArtifact:
    type: ArtifactType
    optional: bool = False
    is_list: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class OutputArtifact:
    type: ArtifactType
    is_list: bool = False
    metadata: Mapping[str, Json] = field(default_factory=dict[str, Json])
    description: str = ""


@dataclass(frozen=True, slots=True)
class Interface:
    """The declared inputs and outputs of one component, in the document's order."""

    input_parameters: Mapping[str, InputParameter] = field(default_factory=dict[str, InputParameter])
    input_artifacts: Mapping[str, InputArtifact] = field(default_factory=dict[str, InputArtifact])
    output_parameters: Mapping[str, OutputParameter] = field(default_factory=dict[str, OutputParameter])
    output_artifacts: Mapping[str, OutputArtifact] = field(default_factory=dict[str, OutputArtifact])
