"""The output manifest of an attempt, from its report and from how its pod ended."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast

from penstock.artifacts import ArtifactError
from penstock.artifacts.content import of_listing
from penstock.errors import TaskError
from penstock.execution.manifest import Outcome, OutputManifest
from penstock.execution.order import LaunchOrder
from penstock.execution.outputs import (
    object_of,
    output_parameters,
    parse_executor_output,
    said_artifacts,
    undeclared,
)
from penstock.execution.process.executor_input import provisioned
from penstock.execution.process.log_tail import last_line_of
from penstock.model import NOTHING, Artifact, Json, JsonObject, Reason, Values
from penstock.planner.values import normalize
from penstock_workers.kubernetes.diagnosis import ASKED, Diagnosis
from penstock_workers.kubernetes.shape import Shape
from penstock_workers.kubernetes.signing import SigningStore


def parse_report(text: str | bytes | None) -> JsonObject | None:
    """None for what is no whole report: a message of another program, or one that is only the hint at it."""
    try:
        found: object = json.loads(text or "null")
    except ValueError:
        return None
    if not isinstance(found, dict) or cast("JsonObject", found).get("version") != 1:
        return None
    return None if cast("JsonObject", found).get("long") else cast("JsonObject", found)


def judge(shape: Shape, task: str, seen: Diagnosis, report: JsonObject | None) -> Diagnosis:
    """`seen` is how the pod ended. In a pod with staging the report has the better word on why."""
    if shape is Shape.PLAIN or seen.outcome is Outcome.CANCELED:
        return seen
    what = f"task '{task}'"
    if report is None:
        if seen.outcome is not Outcome.SUCCEEDED:
            return seen
        text = f"{what} ended, but its outputs were not stored; its log may say why"
        return replace(seen, outcome=Outcome.FAILED, reason=Reason.OUTPUT, error=text)
    code = report.get("exit_code")
    times = {
        "started_at": cast("float | None", report.get("began") or report.get("started")) or seen.started_at,
        "ended_at": cast("float | None", report.get("ended")) or seen.ended_at,
    }
    failed = object_of(report.get("failed"))
    if failed.get("stage") == "in":
        text = f"{what} did not start: {failed.get('text')}"
        return replace(seen, outcome=Outcome.FAILED, reason=Reason.INPUT, error=text, exit_code=None, **times)
    if shape is Shape.BESIDE:
        # Written by the sidecar, which does not know how the task's own container ended.
        if seen.outcome is not Outcome.SUCCEEDED:
            return seen
    elif code != 0:
        outcome, reason, error = seen.outcome, seen.reason, seen.error
        own = outcome is Outcome.SUCCEEDED or (outcome is Outcome.LOST and code not in ASKED)
        if report.get("error") or own:
            outcome, reason = Outcome.FAILED, Reason.EXIT_CODE
            said = report.get("error")
            error = f"{what} cannot be started: {said}" if said else f"{what} ended with exit code {code}"
        return replace(
            seen, outcome=outcome, reason=reason, error=error, exit_code=cast("int | None", code), **times
        )
    if failed:
        text = f"the outputs of {what} were not stored: {failed.get('text')}"
        return replace(seen, outcome=Outcome.FAILED, reason=Reason.OUTPUT, error=text, exit_code=0, **times)
    return replace(seen, outcome=Outcome.SUCCEEDED, reason=None, error="", exit_code=0, **times)


def manifest_of(
    order: LaunchOrder,
    end: Diagnosis,
    report: JsonObject | None,
    store: SigningStore,
    new_id: Callable[[], str],
    *,
    log: bytes,
    log_uri: str,
    notes: Mapping[str, str],
) -> OutputManifest:
    """`end` as `judge` has it. What a task says of its outputs may still make it fail.

    Raises ArtifactError while large outputs cannot be put together.
    """
    values, more = NOTHING, dict(notes)
    assert end.outcome is not None
    if end.outcome is Outcome.SUCCEEDED and report is not None:
        try:
            values = _values(order, report, store, new_id, more)
        except ArtifactError:
            raise
        except TaskError as problem:
            end = replace(end, outcome=Outcome.FAILED, reason=Reason.OUTPUT, error=str(problem))
    error = end.error
    if end.reason is Reason.EXIT_CODE and error.endswith(f"exit code {end.exit_code}"):
        last = last_line_of(log)
        error += f": {last}" if last else "; its log does not say why"
    ended = end.ended_at or time.time()
    return OutputManifest(
        attempt_id=order.attempt_id,
        outcome=cast("Outcome", end.outcome),
        exit_code=end.exit_code,
        reason=end.reason,
        error=error,
        parameters=values.parameters,
        artifacts=values.artifacts,
        log=log_uri,
        started_at=end.started_at,
        ended_at=max(ended, end.started_at or 0.0),
        notes=more,
    )


def _values(
    order: LaunchOrder,
    report: JsonObject,
    store: SigningStore,
    new_id: Callable[[], str],
    notes: dict[str, str],
) -> Values:
    component = order.component
    said = parse_executor_output(cast("str | None", report.get("executor_output")), order.task_name)
    texts = object_of(report.get("parameters"))
    parameters = output_parameters(component, said, lambda name, _: cast("str | None", texts.get(name)))
    notes |= undeclared(component, said)
    stored = cast("Mapping[str, list[JsonObject]]", object_of(report.get("artifacts")))
    artifacts: dict[str, tuple[Artifact, ...]] = {}
    for name in component.interface.output_artifacts:
        pairs = zip(said_artifacts(said, name), stored.get(name, []), strict=False)
        artifacts[name] = tuple(
            _artifact(order, name, one, other, store, new_id, notes) for one, other in pairs
        )
    return Values(parameters, artifacts)


def _artifact(
    order: LaunchOrder,
    name: str,
    said: Mapping[str, Json],
    stored: JsonObject,
    store: SigningStore,
    new_id: Callable[[], str],
    notes: dict[str, str],
) -> Artifact:
    declared = provisioned(order, name)
    where = f"the metadata of output artifact '{name}'"
    metadata = {**declared.metadata, **object_of(normalize(said.get("metadata"), where=where))}
    called = said.get("name")
    uri = str(stored["uri"])
    artifact = replace(
        declared,
        id=new_id(),
        name=called if isinstance(called, str) and called else name,
        uri=uri,
        metadata=metadata,
    )
    if "files" not in stored:
        if "missing" in stored:
            notes[f"artifact:{name}"] = f"output artifact '{name}' was not written; it has metadata only"
        return artifact
    listing: list[tuple[str, int, str]] = []
    for file in cast("list[JsonObject]", stored["files"]):
        inner, size, digest = str(file["name"]), cast("int", file["size"]), str(file["sha256"])
        listing.append((inner, size, digest))
        if "pieces" in file:
            store.compose(f"{uri}/{inner}" if inner else uri, cast("list[str]", file["pieces"]))
    if not stored.get("directory"):
        return replace(artifact, size=listing[0][1], sha256=listing[0][2])
    whole = of_listing(uri, listing)
    return replace(artifact, size=whole.size, sha256=whole.sha256)
