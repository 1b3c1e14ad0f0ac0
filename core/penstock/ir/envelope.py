"""The wrappings in which a pipeline comes, and what is often taken for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from penstock.ir import schema
from penstock.ir.conform import conform
from penstock.ir.executors import read_constant
from penstock.ir.fault import FaultError, excerpt, kind
from penstock.ir.platforms import read_platforms
from penstock.model import Json, JsonObject

_COMMAND: Final = "kfp dsl compile --py pipeline.py --output pipeline.yaml"
_RECOMPILE: Final = f"Compile its source again with kfp 2 (pip install 'kfp>=2', then {_COMMAND})."
_COMPILE: Final = f"Give the file that the compiler of kfp 2 writes ({_COMMAND})."
_MARKS: Final = frozenset(
    {
        "root",
        "components",
        "deploymentSpec",
        "deployment_spec",
        "pipelineInfo",
        "pipeline_info",
        "schemaVersion",
    }
)
_SPEC: Final = ("pipelineSpec", "pipeline_spec")
_PLATFORM: Final = ("platformSpec", "platform_spec")
_RUNTIME: Final = ("runtimeConfig", "runtime_config")
_JOB_WITHOUT_EFFECT: Final = frozenset({"name", "displayName", "display_name", "labels"})


@dataclass(frozen=True, slots=True)
class Documents:
    """The pipeline spec and the platform spec (`{}` without one); `notes` on the wrapping."""

    pipeline: JsonObject
    platform: JsonObject = field(default_factory=dict[str, Json])
    notes: tuple[str, ...] = ()


def unwrap(found: Sequence[Json]) -> Documents:
    """Raises FaultError for what is no pipeline, saying what it is."""
    documents: list[JsonObject] = []
    for one in found:
        if not isinstance(one, dict):
            raise FaultError(f"is {kind(one)}, not a pipeline", remedy=_COMPILE)
        documents.append(one)
    if not documents:
        raise FaultError("the file is empty", remedy=_COMPILE)
    for one in documents:
        _refuse_look_alikes(one)
    manifests = [one for one in documents if _is_manifest(one)]
    if manifests:
        if len(manifests) != len(documents):
            raise FaultError("Kubernetes manifests and other documents stand in one file")
        return _manifest(manifests)
    if any(name in documents[0] for name in _SPEC):
        if len(documents) > 1:
            raise FaultError("holds more than one document beside its pipeline_spec")
        return _request(documents[0])
    pipelines = [one for one in documents if "platforms" not in one or _MARKS & one.keys()]
    platforms = [one for one in documents if "platforms" in one and not _MARKS & one.keys()]
    if not pipelines:
        raise FaultError("holds a platform spec without its pipeline", remedy=_COMPILE)
    if len(pipelines) > 1 or len(platforms) > 1:
        more = "pipeline" if len(pipelines) > 1 else "platform spec"
        raise FaultError(
            f"holds more than one {more}",
            remedy="Put each pipeline into a file of its own.",
        )
    return Documents(_spec(pipelines[0]), read_platforms(platforms[0] if platforms else None))


def _refuse_look_alikes(document: JsonObject) -> None:
    version, manifest = document.get("apiVersion"), document.get("kind")
    group = version.partition("/")[0] if isinstance(version, str) else ""
    if group == "argoproj.io" or (manifest == "Workflow" and not group):
        raise FaultError(
            f"is an Argo {manifest or 'Workflow'}: a pipeline of KFP v1, not IR",
            remedy=_RECOMPILE,
        )
    if group == "tekton.dev":
        raise FaultError(
            f"is a Tekton {manifest}: a pipeline of kfp-tekton, not IR",
            remedy=_RECOMPILE,
        )
    if group and manifest and not _is_manifest(document):
        raise FaultError(
            f"is a Kubernetes manifest of kind {excerpt(manifest)}, not a pipeline",
            remedy=_COMPILE,
        )
    if "implementation" in document:
        raise FaultError(
            "is a component, not a pipeline",
            "implementation",
            remedy="Use it in a @dsl.pipeline (kfp.components.load_component_from_file) and compile that.",
        )


def _spec(document: Json) -> JsonObject:
    if not isinstance(document, dict):
        raise FaultError(f"the pipeline spec must be a mapping, but is {kind(document)}")
    if not _MARKS & document.keys():
        keys = ", ".join(excerpt(key) for key in list(document)[:5]) or "no keys"
        raise FaultError(f"is not a compiled pipeline: it has {keys}", remedy=_COMPILE)
    return document


def _mapping(value: Json, *steps: str) -> JsonObject:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise FaultError(f"must be a mapping, but is {kind(value)}", *steps)
    return value


def _first(document: JsonObject, names: Sequence[str]) -> Json:
    return next((document[name] for name in names if name in document), None)


def _request(document: JsonObject) -> Documents:
    """The forms of KFP's REST API, and of SDK 1.8's PipelineJob, whose arguments become defaults."""
    known = {*_SPEC, *_PLATFORM, *_RUNTIME, *_JOB_WITHOUT_EFFECT}
    for key in document:
        if key not in known:
            raise FaultError(f"the field {excerpt(key)} is not known beside the pipeline spec", key)
    spec = _spec(_first(document, _SPEC))
    runtime = _mapping(_first(document, _RUNTIME), "runtimeConfig")
    remarks = tuple(
        f"{key} has no effect: a run gets its name and labels when it starts."
        for key in sorted(document.keys() & _JOB_WITHOUT_EFFECT)
    )
    return Documents(
        _with_runtime(spec, runtime) if runtime else spec,
        read_platforms(_first(document, _PLATFORM)),
        remarks,
    )


def _with_runtime(spec: JsonObject, runtime: JsonObject) -> JsonObject:
    """The spec with a job's arguments as its defaults. `parameterValues` win over the older `parameters`."""
    try:
        config = cast("JsonObject", conform(runtime, schema.RUNTIME_CONFIG))
    except FaultError as fault:
        raise fault.within("runtimeConfig") from None
    regular = cast("JsonObject", conform(spec, schema.PIPELINE))
    values: JsonObject = {}
    for name, legacy in _mapping(config.get("parameters")).items():
        values[name] = read_constant({"constantValue": legacy})
    values.update(_mapping(config.get("parameterValues")))
    root = dict(_mapping(regular.get("root")))
    inputs = dict(_mapping(root.get("inputDefinitions")))
    parameters = dict(_mapping(inputs.get("parameters")))
    for name, value in values.items():
        if name not in parameters:
            raise FaultError(
                f"gives the argument {excerpt(name)}, which the pipeline does not have",
                "runtimeConfig",
            )
        parameters[name] = {**_mapping(parameters[name]), "defaultValue": value}
    found = dict(regular)
    if values:
        found["root"] = {
            **root,
            "inputDefinitions": {**inputs, "parameters": parameters},
        }
    if output := config.get("gcsOutputDirectory"):
        found["defaultPipelineRoot"] = output
    return found


def _is_manifest(document: JsonObject) -> bool:
    version = document.get("apiVersion")
    return (
        isinstance(version, str)
        and version.startswith("pipelines.kubeflow.org/")
        and document.get("kind") in ("Pipeline", "PipelineVersion")
    )


def _manifest(manifests: Sequence[JsonObject]) -> Documents:
    """KFP's custom resources: the PipelineVersion holds the specs, the Pipeline beside it only a name."""
    found: list[Documents] = []
    for manifest in manifests:
        spec = _mapping(manifest.get("spec"), "spec")
        if any(name in spec for name in _SPEC):
            try:
                found.append(Documents(_spec(_first(spec, _SPEC)), read_platforms(_first(spec, _PLATFORM))))
            except FaultError as fault:
                raise fault.within("spec") from None
    if len(found) != 1:
        if found:
            raise FaultError(
                "holds more than one pipeline",
                remedy="Put each pipeline into a file of its own.",
            )
        raise FaultError(
            f"is a {manifests[0]['kind']} manifest without spec.pipelineSpec",
            remedy="Give the PipelineVersion manifest, or compile without the Kubernetes manifest format.",
        )
    return found[0]
