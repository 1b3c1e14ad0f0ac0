"""The messages of KFP's `pipeline_spec.proto` (SDK 2.17)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

_CAPITAL: Final = re.compile(r"(?<!^)[A-Z]")


def snake_case(name: str) -> str:
    return _CAPITAL.sub(lambda match: f"_{match[0].lower()}", name)


@dataclass(frozen=True, slots=True)
class Scalar:
    """`what` in words, for messages."""

    what: str


@dataclass(frozen=True, slots=True)
class Enum:
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListOf:
    item: Shape


@dataclass(frozen=True, slots=True)
class MapOf:
    item: Shape


@dataclass(frozen=True, slots=True)
class Message:
    """`one_of`: groups of fields of which one may be set; `dropped`: fields that mean nothing.

    `open`: unknown fields are kept instead of refused. `original` maps the proto's own field names
    (snake_case), which protojson accepts too, to the regular ones.
    """

    fields: Mapping[str, Shape]
    one_of: tuple[tuple[str, ...], ...] = ()
    dropped: frozenset[str] = frozenset()
    open: bool = False
    names: frozenset[str] = field(init=False)
    original: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", frozenset(self.fields))
        object.__setattr__(self, "original", {snake_case(name): name for name in self.fields})


Shape: TypeAlias = Scalar | Enum | ListOf | MapOf | Message

TEXT: Final = Scalar("a text")
FLAG: Final = Scalar("a boolean")
INTEGER: Final = Scalar("an integer")
LONG: Final = Scalar("an integer")
NUMBER: Final = Scalar("a number")
DURATION: Final = Scalar("a duration such as 30s")
VALUE: Final = Scalar("a value")
STRUCT: Final = Scalar("a mapping")

PRIMITIVE_TYPE: Final = Enum(("PRIMITIVE_TYPE_UNSPECIFIED", "INT", "DOUBLE", "STRING"))
PARAMETER_TYPE: Final = Enum(
    (
        "PARAMETER_TYPE_ENUM_UNSPECIFIED",
        "NUMBER_DOUBLE",
        "NUMBER_INTEGER",
        "STRING",
        "BOOLEAN",
        "LIST",
        "STRUCT",
        "TASK_FINAL_STATUS",
        "TASK_CONFIG",
    )
)
TRIGGER_STRATEGY: Final = Enum(
    (
        "TRIGGER_STRATEGY_UNSPECIFIED",
        "ALL_UPSTREAM_TASKS_SUCCEEDED",
        "ALL_UPSTREAM_TASKS_COMPLETED",
    )
)
PASSTHROUGH: Final = Enum(
    (
        "NONE",
        "RESOURCES",
        "ENV",
        "KUBERNETES_AFFINITY",
        "KUBERNETES_TOLERATIONS",
        "KUBERNETES_NODE_SELECTOR",
        "KUBERNETES_VOLUMES",
    )
)

LEGACY_VALUE: Final = Message(
    {"intValue": LONG, "doubleValue": NUMBER, "stringValue": TEXT},
    (("intValue", "doubleValue", "stringValue"),),
)
RUNTIME_VALUE: Final = Message(
    {"constantValue": LEGACY_VALUE, "runtimeParameter": TEXT, "constant": VALUE},
    (("constantValue", "runtimeParameter", "constant"),),
)
ARTIFACT_TYPE: Final = Message(
    {
        "schemaTitle": TEXT,
        "schemaUri": TEXT,
        "instanceSchema": TEXT,
        "schemaVersion": TEXT,
    },
    (("schemaTitle", "schemaUri", "instanceSchema"),),
)

INPUT_ARTIFACT: Final = Message(
    {
        "artifactType": ARTIFACT_TYPE,
        "isArtifactList": FLAG,
        "isOptional": FLAG,
        "description": TEXT,
    }
)
INPUT_PARAMETER: Final = Message(
    {
        "type": PRIMITIVE_TYPE,
        "parameterType": PARAMETER_TYPE,
        "defaultValue": VALUE,
        "isOptional": FLAG,
        "description": TEXT,
        "literals": ListOf(VALUE),
    }
)
INPUTS: Final = Message({"artifacts": MapOf(INPUT_ARTIFACT), "parameters": MapOf(INPUT_PARAMETER)})
OUTPUT_ARTIFACT: Final = Message(
    {
        "artifactType": ARTIFACT_TYPE,
        "properties": MapOf(RUNTIME_VALUE),
        "customProperties": MapOf(RUNTIME_VALUE),
        "metadata": STRUCT,
        "isArtifactList": FLAG,
        "description": TEXT,
    }
)
OUTPUT_PARAMETER: Final = Message(
    {"type": PRIMITIVE_TYPE, "parameterType": PARAMETER_TYPE, "description": TEXT}
)
OUTPUTS: Final = Message({"artifacts": MapOf(OUTPUT_ARTIFACT), "parameters": MapOf(OUTPUT_PARAMETER)})

TASK_OUTPUT_PARAMETER: Final = Message({"producerTask": TEXT, "outputParameterKey": TEXT})
TASK_OUTPUT_ARTIFACT: Final = Message({"producerTask": TEXT, "outputArtifactKey": TEXT})
FINAL_STATUS: Final = Message({"producerTask": TEXT})
PARAMETER_SOURCE: Final = Message(
    {
        "taskOutputParameter": TASK_OUTPUT_PARAMETER,
        "runtimeValue": RUNTIME_VALUE,
        "componentInputParameter": TEXT,
        "taskFinalStatus": FINAL_STATUS,
        "parameterExpressionSelector": TEXT,
    },
    (
        (
            "taskOutputParameter",
            "runtimeValue",
            "componentInputParameter",
            "taskFinalStatus",
        ),
    ),
)
ARTIFACT_SOURCE: Final = Message(
    {"taskOutputArtifact": TASK_OUTPUT_ARTIFACT, "componentInputArtifact": TEXT},
    (("taskOutputArtifact", "componentInputArtifact"),),
)
TASK_INPUTS: Final = Message({"parameters": MapOf(PARAMETER_SOURCE), "artifacts": MapOf(ARTIFACT_SOURCE)})

CACHING: Final = Message({"enableCache": FLAG, "cacheKey": TEXT})
TRIGGER: Final = Message({"condition": TEXT, "strategy": TRIGGER_STRATEGY})
RETRY: Final = Message(
    {
        "maxRetryCount": INTEGER,
        "backoffDuration": DURATION,
        "backoffFactor": NUMBER,
        "backoffMaxDuration": DURATION,
    }
)
ITERATOR_POLICY: Final = Message({"parallelismLimit": INTEGER})
ARTIFACT_ITEMS: Final = Message({"inputArtifact": TEXT})
ARTIFACT_ITERATOR: Final = Message({"items": ARTIFACT_ITEMS, "itemInput": TEXT})
PARAMETER_ITEMS: Final = Message({"raw": TEXT, "inputParameter": TEXT}, (("raw", "inputParameter"),))
PARAMETER_ITERATOR: Final = Message({"items": PARAMETER_ITEMS, "itemInput": TEXT})
NAMED: Final = Message({"name": TEXT})
TASK: Final = Message(
    {
        "taskInfo": NAMED,
        "inputs": TASK_INPUTS,
        "dependentTasks": ListOf(TEXT),
        "cachingOptions": CACHING,
        "componentRef": NAMED,
        "triggerPolicy": TRIGGER,
        "artifactIterator": ARTIFACT_ITERATOR,
        "parameterIterator": PARAMETER_ITERATOR,
        "retryPolicy": RETRY,
        "iteratorPolicy": ITERATOR_POLICY,
    },
    (("artifactIterator", "parameterIterator"),),
)

ARTIFACT_SELECTOR: Final = Message({"producerSubtask": TEXT, "outputArtifactKey": TEXT})
PARAMETER_SELECTOR: Final = Message({"producerSubtask": TEXT, "outputParameterKey": TEXT})
DAG_ARTIFACT: Final = Message({"artifactSelectors": ListOf(ARTIFACT_SELECTOR)})
ONE_OF_PARAMETERS: Final = Message({"parameterSelectors": ListOf(PARAMETER_SELECTOR)})
DAG_PARAMETER: Final = Message(
    {"valueFromParameter": PARAMETER_SELECTOR, "valueFromOneof": ONE_OF_PARAMETERS},
    (("valueFromParameter", "valueFromOneof"),),
)
DAG_OUTPUTS: Final = Message({"artifacts": MapOf(DAG_ARTIFACT), "parameters": MapOf(DAG_PARAMETER)})
DAG: Final = Message({"tasks": MapOf(TASK), "outputs": DAG_OUTPUTS})

PASSTHROUGH_FIELD: Final = Message({"field": PASSTHROUGH, "applyToTask": FLAG})
COMPONENT: Final = Message(
    {
        "inputDefinitions": INPUTS,
        "outputDefinitions": OUTPUTS,
        "dag": DAG,
        "executorLabel": TEXT,
        "singlePlatformSpecs": ListOf(STRUCT),
        "taskConfigPassthroughs": ListOf(PASSTHROUGH_FIELD),
    },
    (("dag", "executorLabel"),),
)

EXEC: Final = Message({"command": ListOf(TEXT), "args": ListOf(TEXT)})
LIFECYCLE: Final = Message({"preCacheCheck": EXEC})
ACCELERATOR: Final = Message({"type": TEXT, "count": LONG, "resourceType": TEXT, "resourceCount": TEXT})
RESOURCES: Final = Message(
    {
        "cpuLimit": NUMBER,
        "memoryLimit": NUMBER,
        "cpuRequest": NUMBER,
        "memoryRequest": NUMBER,
        "resourceCpuLimit": TEXT,
        "resourceMemoryLimit": TEXT,
        "resourceCpuRequest": TEXT,
        "resourceMemoryRequest": TEXT,
        "accelerator": ACCELERATOR,
    }
)
ENV_VAR: Final = Message({"name": TEXT, "value": TEXT})
CONTAINER: Final = Message(
    {
        "image": TEXT,
        "command": ListOf(TEXT),
        "args": ListOf(TEXT),
        "lifecycle": LIFECYCLE,
        "resources": RESOURCES,
        "env": ListOf(ENV_VAR),
    }
)
IMPORTER: Final = Message(
    {
        "artifactUri": RUNTIME_VALUE,
        "typeSchema": ARTIFACT_TYPE,
        "properties": MapOf(RUNTIME_VALUE),
        "customProperties": MapOf(RUNTIME_VALUE),
        "reimport": FLAG,
        "metadata": STRUCT,
        "downloadToWorkspace": FLAG,
    }
)
EXECUTOR: Final = Message(
    {
        "container": CONTAINER,
        "importer": IMPORTER,
        "resolver": STRUCT,
        "customJob": STRUCT,
    },
    (("container", "importer", "resolver", "customJob"),),
)
# SDK 1.8 wrote the deployment as a protobuf Any: its type URL says nothing that the field does not.
DEPLOYMENT: Final = Message({"executors": MapOf(EXECUTOR)}, dropped=frozenset({"@type"}))
PIPELINE_INFO: Final = Message({"name": TEXT, "displayName": TEXT, "description": TEXT})
PIPELINE: Final = Message(
    {
        "pipelineInfo": PIPELINE_INFO,
        "deploymentSpec": DEPLOYMENT,
        "sdkVersion": TEXT,
        "schemaVersion": TEXT,
        "components": MapOf(COMPONENT),
        "root": COMPONENT,
        "defaultPipelineRoot": TEXT,
    }
)
RUNTIME_CONFIG: Final = Message(
    {
        "parameters": MapOf(LEGACY_VALUE),
        "gcsOutputDirectory": TEXT,
        "parameterValues": STRUCT,
    }
)
