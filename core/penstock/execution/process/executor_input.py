"""KFP's ExecutorInput: what a component is told of its inputs and of the places for its outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from penstock.execution.environments.bootstrap import executor_module
from penstock.execution.order import LaunchOrder
from penstock.model import Artifact, ContainerExecutor, Json, JsonObject, ParameterType
from penstock.planner.values import to_text


@dataclass(frozen=True, slots=True)
class Places:
    """Where an attempt finds and leaves things on this machine.

    `inputs` has, per input artifact, what takes the place of its URIs: a local absolute path, or the URI
    itself where we cannot read it. Recent kfp takes a path for a URI as it is; for older ones see
    `kfp_entry`. `task_root` is where `dsl.get_uri()` points; the executor output goes there because the SDK
    derives one from the other. `remote` has the URIs in an object store that the task is told all the same,
    each with the path here that stands for it and, with "/" and more after both, for what lies below.
    """

    task_root: Path
    inputs: Mapping[str, tuple[str, ...]]
    parameters: Mapping[str, Path]
    artifacts: Mapping[str, Path]
    remote: Mapping[str, Path] = field(default_factory=dict[str, Path])

    @property
    def executor_output(self) -> Path:
        return self.task_root / "output_metadata.json"


def executor_input(order: LaunchOrder, places: Places) -> JsonObject:
    """Field names as in protojson. Empty parts are there, as SDKs before 2.1 read them without asking.

    Components of SDK 1.8 read the older `parameters` and do not know `parameterValues`.
    """
    return compose(
        order,
        places.inputs,
        {name: str(path) for name, path in places.parameters.items()},
        {name: str(path) for name, path in places.artifacts.items()},
        str(places.executor_output),
    )


def with_uris(order: LaunchOrder, places: Places) -> JsonObject:
    """The same with the URIs of object stores as they are, beside the local path as KFP's `customPath`."""
    return compose(
        order,
        {
            name: tuple(
                one.uri if one.uri in places.remote else local
                for one, local in zip(many, places.inputs[name], strict=True)
            )
            for name, many in order.inputs.artifacts.items()
        },
        {name: str(path) for name, path in places.parameters.items()},
        {
            name: uri if (uri := order.output_uris[name]) in places.remote else str(path)
            for name, path in places.artifacts.items()
        },
        str(places.executor_output),
        places.remote,
    )


def compose(
    order: LaunchOrder,
    inputs: Mapping[str, tuple[str, ...]],
    parameters: Mapping[str, str],
    artifacts: Mapping[str, str],
    executor_output: str,
    paths: Mapping[str, Path] | None = None,
) -> JsonObject:
    """The same from plain texts: URIs of inputs and of output `artifacts`, files of output `parameters`.

    A URI that `paths` knows comes with that path.
    """
    known = paths or {}
    return {
        "inputs": {
            "parameterValues": dict(order.inputs.parameters),
            **({"parameters": _legacy_parameters(order)} if _is_legacy(order) else {}),
            "artifacts": {
                name: _list([_placed(one, uri, known) for one, uri in zip(many, inputs[name], strict=True)])
                for name, many in order.inputs.artifacts.items()
            },
        },
        "outputs": {
            "parameters": {name: {"outputFile": path} for name, path in parameters.items()},
            "artifacts": {
                name: _list([_placed(provisioned(order, name), uri, known)])
                for name, uri in artifacts.items()
            },
            "outputFile": executor_output,
        },
    }


def provisioned(order: LaunchOrder, name: str) -> Artifact:
    """An output artifact as declared, before the component has said anything about it; it has no id yet."""
    declared = order.component.interface.output_artifacts[name]
    return Artifact("", name, declared.type, order.output_uris[name], dict(declared.metadata))


def _placed(artifact: Artifact, uri: str, paths: Mapping[str, Path]) -> JsonObject:
    found = artifact.runtime(uri)
    return {**found, "customPath": str(paths[uri])} if uri in paths else found


def _is_legacy(order: LaunchOrder) -> bool:
    executor = order.executor
    module = executor_module(executor.command) if isinstance(executor, ContainerExecutor) else None
    return module is not None and module.startswith("kfp.v2.")


def _legacy_parameters(order: LaunchOrder) -> JsonObject:
    """Each value as the older `Value` message, which has texts, integers and doubles only."""
    declared = order.component.interface.input_parameters
    found: JsonObject = {}
    for name, value in order.inputs.parameters.items():
        parameter = declared.get(name)
        if parameter is not None and parameter.type is ParameterType.NUMBER_DOUBLE:
            found[name] = {"doubleValue": value}
        elif isinstance(value, int) and not isinstance(value, bool):
            found[name] = {"intValue": str(value)}
        elif isinstance(value, float):
            found[name] = {"doubleValue": value}
        else:
            found[name] = {"stringValue": to_text(value)}
    return found


def _list(artifacts: list[JsonObject]) -> JsonObject:
    found: list[Json] = [*artifacts]
    return {"artifacts": found}
