"""`inputDefinitions` and `outputDefinitions` to an Interface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from penstock.ir import schema
from penstock.ir.fault import FaultError, IrregularError
from penstock.ir.names import check_name
from penstock.ir.shapes import flag, items, mapping, message, text
from penstock.model import (
    ArtifactType,
    InputArtifact,
    InputParameter,
    Interface,
    Json,
    OutputArtifact,
    OutputParameter,
    ParameterType,
)

_Declared = TypeVar("_Declared")

_TYPES: Final = {one.value: one for one in ParameterType}
_LEGACY: Final = {
    "INT": ParameterType.NUMBER_INTEGER,
    "DOUBLE": ParameterType.NUMBER_DOUBLE,
    "STRING": ParameterType.STRING,
}
_UNSPECIFIED: Final = {
    None,
    "PARAMETER_TYPE_ENUM_UNSPECIFIED",
    "PRIMITIVE_TYPE_UNSPECIFIED",
}

_PLAIN_INPUTS: Final = {kind: InputParameter(kind) for kind in ParameterType}
_PLAIN_OUTPUTS: Final = {kind: OutputParameter(kind) for kind in ParameterType}


def read_interface(inputs: Json, outputs: Json) -> Interface:
    """Raises FaultError and IrregularError."""
    taken, given = (
        message(inputs, schema.INPUTS.names),
        message(outputs, schema.OUTPUTS.names),
    )
    try:
        found = (
            _each("parameters", taken.get("parameters"), _input_parameter),
            _each("artifacts", taken.get("artifacts"), _input_artifact),
        )
    except FaultError as fault:
        raise fault.within("inputDefinitions") from None
    try:
        return Interface(
            *found,
            _each("parameters", given.get("parameters"), _output_parameter),
            _each("artifacts", given.get("artifacts"), _output_artifact),
        )
    except FaultError as fault:
        raise fault.within("outputDefinitions") from None


def read_artifact_type(value: Json) -> ArtifactType:
    spec = message(value, schema.ARTIFACT_TYPE.names)
    title, instance = text(spec.get("schemaTitle")), text(spec.get("instanceSchema"))
    if text(spec.get("schemaUri")):
        raise FaultError(
            "an artifact type by schemaUri is not supported, by KFP neither",
            "schemaUri",
            remedy="Name the type by schemaTitle, such as system.Dataset.",
        )
    if title and instance:
        raise IrregularError
    if not title and not instance:
        raise FaultError(
            "the artifact type is missing",
            remedy="Set schemaTitle, such as system.Artifact.",
        )
    return ArtifactType(title, text(spec.get("schemaVersion")), instance)


def _each(group: str, value: Json, read: Callable[[Json], _Declared]) -> dict[str, _Declared]:
    found: dict[str, _Declared] = {}
    for name, one in mapping(value).items():
        try:
            check_name(name)
            found[name] = read(one)
        except FaultError as fault:
            raise fault.within(group, name) from None
    return found


def _parameter_type(kind: Json, legacy: Json) -> ParameterType:
    for value, known in ((kind, _TYPES), (legacy, _LEGACY)):
        if not isinstance(value, str):
            if value is not None:
                raise IrregularError
        elif value in known:
            return known[value]
        elif value not in _UNSPECIFIED:
            raise IrregularError
    raise FaultError("the parameter has no type", remedy="Set parameterType, such as STRING.")


def _input_parameter(value: Json) -> InputParameter:
    spec = message(value, schema.INPUT_PARAMETER.names)
    kind = _parameter_type(spec.get("parameterType"), spec.get("type"))
    if len(spec) == 1:
        return _PLAIN_INPUTS[kind]
    return InputParameter(
        kind,
        flag(spec.get("isOptional")),
        "defaultValue" in spec,
        spec.get("defaultValue"),
        tuple(items(spec.get("literals"))),
        text(spec.get("description")),
    )


def _input_artifact(value: Json) -> InputArtifact:
    spec = message(value, schema.INPUT_ARTIFACT.names)
    return InputArtifact(
        _typed(spec.get("artifactType")),
        flag(spec.get("isOptional")),
        flag(spec.get("isArtifactList")),
        text(spec.get("description")),
    )


def _output_parameter(value: Json) -> OutputParameter:
    spec = message(value, schema.OUTPUT_PARAMETER.names)
    kind = _parameter_type(spec.get("parameterType"), spec.get("type"))
    return _PLAIN_OUTPUTS[kind] if len(spec) == 1 else OutputParameter(kind, text(spec.get("description")))


def _output_artifact(value: Json) -> OutputArtifact:
    spec = message(value, schema.OUTPUT_ARTIFACT.names)
    for group in ("properties", "customProperties"):
        mapping(spec.get(group))
    return OutputArtifact(
        _typed(spec.get("artifactType")),
        flag(spec.get("isArtifactList")),
        mapping(spec.get("metadata")),
        text(spec.get("description")),
    )


def _typed(value: Json) -> ArtifactType:
    try:
        return read_artifact_type(value)
    except FaultError as fault:
        raise fault.within("artifactType") from None
