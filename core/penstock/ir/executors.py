"""`deploymentSpec.executors` to Executors."""

from __future__ import annotations

from typing import Final

from penstock.ir import schema
from penstock.ir.fault import FaultError, IrregularError
from penstock.ir.interfaces import read_artifact_type
from penstock.ir.numbers import plain_text
from penstock.ir.shapes import flag, items, mapping, message, number, text, texts
from penstock.model import (
    Accelerator,
    ContainerExecutor,
    EnvVar,
    Executor,
    ImporterExecutor,
    Json,
    JsonObject,
    Resources,
)

_NO_RESOURCES: Final = Resources()
_REFUSED: Final = {
    "resolver": "a resolver, which only Vertex AI runs",
    "customJob": "an AI Platform custom job, which only Vertex AI runs",
}


def read_executor(value: Json) -> Executor:
    """Raises FaultError and IrregularError."""
    spec = message(value, schema.EXECUTOR.names)
    if len(spec) != 1:
        if not spec:
            raise FaultError(
                "the executor is empty",
                remedy="It must have a container or an importer.",
            )
        raise IrregularError
    ((kind, body),) = spec.items()
    try:
        match kind:
            case "container":
                return _container(message(body, schema.CONTAINER.names))
            case "importer":
                return _importer(message(body, schema.IMPORTER.names))
            case _:
                raise FaultError(
                    f"the executor is {_REFUSED[kind]}, and KFP itself refuses",
                    remedy="Use a container component or dsl.importer.",
                )
    except FaultError as fault:
        raise fault.within(kind) from None


def _container(spec: JsonObject) -> ContainerExecutor:
    image = text(spec.get("image"))
    if not image:
        raise FaultError("the container has no image", "image")
    message(spec.get("lifecycle"), schema.LIFECYCLE.names)
    resources, env = spec.get("resources"), spec.get("env")
    return ContainerExecutor(
        image,
        texts(spec.get("command")),
        texts(spec.get("args")),
        tuple(_env_var(index, one) for index, one in enumerate(items(env))) if env is not None else (),
        _resources(message(resources, schema.RESOURCES.names)) if resources is not None else _NO_RESOURCES,
    )


def _env_var(index: int, value: Json) -> EnvVar:
    spec = message(value, schema.ENV_VAR.names)
    name, content = text(spec.get("name")), text(spec.get("value"))
    if not name or "=" in name or "\0" in name:
        problem = "the environment variable has no name" if not name else "a variable's name holds '=' or NUL"
        raise FaultError(problem, "env", str(index), "name")
    if "\0" in content:
        raise FaultError(
            f"the value of the environment variable {name} holds NUL",
            "env",
            str(index),
            "value",
        )
    return EnvVar(name, content)


def _resources(spec: JsonObject) -> Resources:
    accelerator = spec.get("accelerator")
    return Resources(
        _quantity(spec, "resourceCpuRequest", "cpuRequest", ""),
        _quantity(spec, "resourceCpuLimit", "cpuLimit", ""),
        _quantity(spec, "resourceMemoryRequest", "memoryRequest", "G"),
        _quantity(spec, "resourceMemoryLimit", "memoryLimit", "G"),
        _accelerator(message(accelerator, schema.ACCELERATOR.names)) if accelerator is not None else None,
    )


def _quantity(spec: JsonObject, field: str, legacy: str, unit: str) -> str:
    """The newer text field wins, as in KFP; a legacy 0 means not set."""
    old = number(spec.get(legacy))
    written = text(spec.get(field))
    if written or not old:
        return written
    if old < 0:
        raise FaultError(f"must not be negative, but is {old}", "resources", legacy)
    return plain_text(old) + unit


def _accelerator(spec: JsonObject) -> Accelerator | None:
    """An accelerator without a type is none; one without a count counts 1."""
    kind = text(spec.get("resourceType")) or text(spec.get("type"))
    count, old = text(spec.get("resourceCount")), spec.get("count")
    if isinstance(old, int) and not isinstance(old, bool):
        old = str(old)
    elif old is not None and not (isinstance(old, str) and old.isdecimal() and old.isascii()):
        raise IrregularError
    return Accelerator(kind, count or old or "1") if kind else None


def _importer(spec: JsonObject) -> ImporterExecutor:
    uri = message(spec.get("artifactUri"), schema.RUNTIME_VALUE.names)
    try:
        constant = read_constant(uri)
    except FaultError as fault:
        raise fault.within("artifactUri") from None
    parameter = text(uri.get("runtimeParameter"))
    if not parameter and not (isinstance(constant, str) and constant):
        raise FaultError(
            "the importer has no URI",
            "artifactUri",
            remedy="Set constant or runtimeParameter.",
        )
    try:
        kind = read_artifact_type(spec.get("typeSchema"))
    except FaultError as fault:
        raise fault.within("typeSchema") from None
    return ImporterExecutor(
        kind,
        None if parameter else text(constant),
        parameter or None,
        {
            **_properties(spec.get("properties")),
            **_properties(spec.get("customProperties")),
            **mapping(spec.get("metadata")),
        },
        flag(spec.get("reimport")),
        flag(spec.get("downloadToWorkspace")),
    )


def _properties(value: Json) -> JsonObject:
    """SDK 1.8's metadata; a parameter becomes the placeholder that says the same in newer metadata."""
    found: JsonObject = {}
    for name, one in mapping(value).items():
        spec = message(one, schema.RUNTIME_VALUE.names)
        parameter = text(spec.get("runtimeParameter"))
        found[name] = f"{{{{$.inputs.parameters['{parameter}']}}}}" if parameter else read_constant(spec)
    return found


def read_constant(spec: JsonObject) -> Json:
    """The constant of a `runtimeValue`, None when it has none. At most one of its three fields may be set."""
    if len(spec) > 1:
        raise IrregularError
    if "constantValue" not in spec:
        return spec.get("constant")
    legacy = message(spec["constantValue"], schema.LEGACY_VALUE.names)
    if len(legacy) != 1:
        if not legacy:
            raise FaultError("the constant is empty", "constantValue")
        raise IrregularError
    ((kind, value),) = legacy.items()
    if kind == "stringValue":
        return text(value)
    if kind == "intValue" and isinstance(value, str):
        raise IrregularError
    return number(value)
