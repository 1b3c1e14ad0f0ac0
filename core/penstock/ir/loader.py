"""Documents to a Pipeline."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, cast

from penstock.errors import InvalidPipelineError
from penstock.ir import schema
from penstock.ir.canonical import digest
from penstock.ir.channels import reconnect_channels
from penstock.ir.conform import conform
from penstock.ir.documents import MAX_BYTES, Documents, read_documents
from penstock.ir.executors import read_executor
from penstock.ir.fault import FaultError, IrregularError, excerpt
from penstock.ir.interfaces import read_interface
from penstock.ir.names import check_name
from penstock.ir.notes import notes
from penstock.ir.references import check_references
from penstock.ir.shapes import flag, items, mapping, message, text
from penstock.ir.tasks import read_dag
from penstock.model import (
    Component,
    Executor,
    Json,
    JsonObject,
    Pipeline,
    TaskConfigPassthrough,
)

SCHEMA_VERSIONS: Final = ("2.0.0", "2.1.0")


def load(
    document: os.PathLike[str] | str | bytes,
    *,
    source: str = "",
    limit: int = MAX_BYTES,
) -> Pipeline:
    """A pipeline from IR YAML or JSON: a path is read, `str` and `bytes` are the document itself.

    `source` names the document in messages (a path names itself), `limit` is the largest size in bytes.
    Raises InvalidPipelineError, with one sentence that says what is wrong, where, and what to do.
    """
    source = source or (os.fspath(document) if isinstance(document, os.PathLike) else "")
    try:
        with _collector_at_rest():
            found = read_documents(document, limit)
            try:
                return _pipeline(found)
            except IrregularError:
                return _pipeline(_regular(found))
    except FaultError as fault:
        raise fault.as_error(source) from None
    except (IrregularError, RecursionError):
        raise InvalidPipelineError("the pipeline has a form that cannot be read", source=source) from None


@contextmanager
def _collector_at_rest() -> Generator[None]:
    """No cyclic garbage collection meanwhile.

    All that is made here lives on; looking through it again and again doubles the time of a large document.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _regular(found: Documents) -> Documents:
    """Says what is wrong with the document, or makes its unusual spellings regular."""
    return replace(
        found,
        pipeline=cast("JsonObject", conform(found.pipeline, schema.PIPELINE)),
    )


def _pipeline(found: Documents) -> Pipeline:
    spec = message(found.pipeline, schema.PIPELINE.names)
    info = message(spec.get("pipelineInfo"), schema.PIPELINE_INFO.names)
    version = _schema_version(spec)
    name = text(info.get("name"))
    try:
        check_name(name, "the pipeline's name")
    except FaultError as fault:
        raise fault.within("pipelineInfo", "name") from None
    deployment = message(spec.get("deploymentSpec"), schema.DEPLOYMENT.names)
    executors: dict[str, Executor] = {}
    for label, one in mapping(deployment.get("executors")).items():
        try:
            executors[label] = read_executor(one)
        except FaultError as fault:
            raise fault.within("deploymentSpec", "executors", label) from None
    components: dict[str, Component] = {}
    for key, one in mapping(spec.get("components")).items():
        try:
            components[key] = _component(key, one)
        except FaultError as fault:
            raise fault.within("components", key) from None
    root, connected, mended = reconnect_channels(_root(spec), components)
    check_references(root, connected, executors)
    return Pipeline(
        name=name,
        root=root,
        components=connected,
        executors=executors,
        schema_version=version,
        sdk_version=text(spec.get("sdkVersion")),
        display_name=text(info.get("displayName")),
        description=text(info.get("description")),
        default_pipeline_root=text(spec.get("defaultPipelineRoot")),
        platform=found.platform,
        digest=_digest(found),
        document=spec,
        notes=(*found.notes, *mended, *notes(spec, found.platform, root, connected, executors)),
    )


def _schema_version(spec: JsonObject) -> str:
    version = spec.get("schemaVersion")
    if version is None:
        raise FaultError(
            "the pipeline has no schemaVersion",
            "schemaVersion",
            remedy="Compile it again with kfp 2.",
        )
    if version not in SCHEMA_VERSIONS:
        raise FaultError(
            f"the schema version {excerpt(version)} is not known",
            "schemaVersion",
            remedy=f"Known are {' and '.join(SCHEMA_VERSIONS)}; compile the pipeline with kfp 2.",
        )
    return text(version)


def _root(spec: JsonObject) -> Component:
    if spec.get("root") is None:
        raise FaultError(
            "the pipeline has no root",
            "root",
            remedy="Compile the pipeline again with kfp 2.",
        )
    try:
        root = _component("root", spec["root"])
        if root.dag is None:
            raise FaultError("the root must be a DAG, not an executor", "executorLabel")
        return root
    except FaultError as fault:
        raise fault.within("root") from None


def _component(name: str, value: Json) -> Component:
    spec = message(value, schema.COMPONENT.names)
    interface = read_interface(spec.get("inputDefinitions"), spec.get("outputDefinitions"))
    for one in items(spec.get("singlePlatformSpecs")):
        mapping(one)
    passthroughs = tuple(_passthrough(one) for one in items(spec.get("taskConfigPassthroughs")))
    dag, label = spec.get("dag"), text(spec.get("executorLabel"))
    if dag is not None:
        if "executorLabel" in spec:
            raise IrregularError
        try:
            return Component(name, interface, read_dag(dag), passthroughs)
        except FaultError as fault:
            raise fault.within("dag") from None
    if not label:
        raise FaultError("the component has neither a dag nor an executorLabel")
    return Component(name, interface, label, passthroughs)


def _passthrough(value: Json) -> TaskConfigPassthrough:
    spec = message(value, schema.PASSTHROUGH_FIELD.names)
    field = text(spec.get("field")) or "NONE"
    if field not in schema.PASSTHROUGH.names:
        raise IrregularError
    return TaskConfigPassthrough(field, flag(spec.get("applyToTask")))


def _digest(found: Documents) -> str:
    try:
        return digest(found.pipeline, found.platform)
    except UnicodeEncodeError as error:
        shown = excerpt(str(error.object)[max(0, error.start - 20) : error.start])
        raise FaultError(f"a text is not valid Unicode: a lone surrogate stands after {shown}") from None
