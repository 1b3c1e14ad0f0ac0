"""Lineage drawn: as trees of text, as a Mermaid flowchart, as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from penstock.cli.artifacts import artifact_json, place
from penstock.cli.graph import escaped
from penstock.cli.references import short
from penstock.cli.table import when
from penstock.execution.provenance import Codes
from penstock.model import Json, JsonObject
from penstock.store import ArtifactRecord, Direction, Edge, ExecutionRecord, ExecutionState, Lineage

_SIDES = {
    True: (frozenset({Direction.OUTPUT, Direction.REUSED}), frozenset({Direction.INPUT})),
    False: (frozenset({Direction.INPUT}), frozenset({Direction.OUTPUT, Direction.REUSED})),
}
"""Upstream or not: through which edges an execution is reached from an artifact, and by which it is left."""


@dataclass(frozen=True, slots=True)
class Tree:
    """One direction of a lineage as indented lines; what was shown once is only named after that."""

    lineage: Lineage
    upstream: bool
    codes: Codes

    def lines(self) -> Iterator[str]:
        into, out_of = _SIDES[self.upstream]
        entered, left = _by(self.lineage, into, "artifact_id"), _by(self.lineage, out_of, "execution_id")
        executions = {one.id: one for one in self.lineage.executions}
        artifacts = {one.artifact.id: one for one in self.lineage.artifacts}
        shown: set[str] = set()

        def steps(artifact_id: str) -> list[str]:
            """Of an artifact the executions, each once."""
            return list(dict.fromkeys(edge.execution_id for edge in entered.get(artifact_id, ())))

        # What is still to be drawn, the next one last: what stands before it, whether it is the last of its
        # siblings, the edge to an artifact or the execution, and the run that asks.
        root = steps(self.lineage.artifacts[0].artifact.id)
        todo: list[tuple[str, bool, Edge | str, str]] = [
            ("", one == root[-1], one, "") for one in reversed(root)
        ]
        while todo:
            before, last, item, asking = todo.pop()
            below = before + ("   " if last else "│  ")
            before += "└─ " if last else "├─ "
            if isinstance(item, Edge):
                many = steps(item.artifact_id)
                yield before + self._artifact(item, artifacts[item.artifact_id], bool(many))
                todo.extend((below, one == many[-1], one, asking) for one in reversed(many))
                continue
            step = executions[item]
            if item in shown:
                yield f"{before}{self._named(step)}, as above"
                continue
            shown.add(item)
            edges = left.get(item, [])
            yield before + self._step(step, asking)
            yield from (f"{below}{'│' if edges else ' '}  {line}" for line in self._details(step))
            todo.extend((below, edge is edges[-1], edge, step.run_id) for edge in reversed(edges))

    def _named(self, step: ExecutionRecord) -> str:
        run = self.lineage.runs[step.run_id]
        return f"{step.path} of run {run.name} ({short(run.id)})"

    def _step(self, step: ExecutionRecord, asking: str) -> str:
        how = {ExecutionState.CACHED: ", from the cache", ExecutionState.FAILED: ", failed"}.get(
            step.state, ""
        )
        if self.upstream and asking not in ("", step.run_id):
            how = ", reused"
        pipeline = self.lineage.runs[step.run_id].pipeline
        return f"{self._named(step)}, pipeline {pipeline}, {when(step.created_at)}{how}"

    def _details(self, step: ExecutionRecord) -> Iterator[str]:
        if step.inputs.parameters:
            yield "with " + ", ".join(
                f"{name}={_abridged(value)}" for name, value in step.inputs.parameters.items()
            )
        code = self.codes.of(self.lineage.runs[step.run_id], step.path)
        if code is not None and code.image:
            yield f"code {code.component} {code.digest[:12]} in {code.image}"

    def _artifact(self, edge: Edge, record: ArtifactRecord, goes_on: bool) -> str:
        reused = " (reused)" if edge.direction is Direction.REUSED and not self.upstream else ""
        where = "" if goes_on or not self.upstream else f"  {place(record)}"
        return f"{edge.name}: {short(record.artifact.id)} {record.artifact.type.name}{reused}{where}"


def mermaid(lineages: list[Lineage]) -> str:
    """A flowchart from left to right: artifacts, and tasks in a box for each run."""
    root = lineages[0].artifacts[0].artifact.id
    artifacts = {one.artifact.id: one for lineage in lineages for one in lineage.artifacts}
    steps = {one.id: one for lineage in lineages for one in lineage.executions}
    runs = {run_id: run for lineage in lineages for run_id, run in lineage.runs.items()}
    names = {one: f"a{index}" for index, one in enumerate(artifacts)}
    names |= {one: f"x{index}" for index, one in enumerate(steps)}
    lines = ["flowchart LR"]
    for artifact_id, record in artifacts.items():
        label = f"{_label(record.artifact.name)}<br/>{_label(record.artifact.type.name)}"
        lines.append(f'  {names[artifact_id]}[("{label}<br/>{short(artifact_id)}")]')
    for index, (run_id, run) in enumerate(runs.items()):
        lines.append(f'  subgraph r{index}["run {_label(run.name)} ({short(run_id)})"]')
        for step in steps.values():
            if step.run_id == run_id:
                mark = "<br/>(cached)" if step.state is ExecutionState.CACHED else ""
                lines.append(f'    {names[step.id]}["{_label(step.path)}{mark}"]')
        lines.append("  end")
    every = dict.fromkeys(edge for lineage in lineages for edge in lineage.edges)
    drawn: dict[str, None] = {}
    for edge in every:
        artifact, step = names[edge.artifact_id], names[edge.execution_id]
        if edge.direction is Direction.INPUT:
            drawn[f"  {artifact} --> {step}"] = None
        else:
            drawn[f"  {step} {'-->' if edge.direction is Direction.OUTPUT else '-.->'} {artifact}"] = None
    return "\n".join([*lines, *drawn, f"  style {names[root]} stroke-width:3px"])


def lineage_json(lineage: Lineage, codes: Codes) -> JsonObject:
    """Executions nearest first, with inputs, outputs and code, then the artifacts."""
    edges = _by(lineage, frozenset(Direction), "execution_id")
    return {
        "executions": [_step_json(lineage, one, edges.get(one.id, []), codes) for one in lineage.executions],
        "artifacts": [artifact_json(record) for record in lineage.artifacts],
        "same": dict(lineage.same),
        "following": lineage.following,
    }


def _step_json(lineage: Lineage, step: ExecutionRecord, edges: list[Edge], codes: Codes) -> JsonObject:
    run = lineage.runs[step.run_id]
    code = codes.of(run, step.path)

    def ids(*directions: Direction) -> JsonObject:
        found: dict[str, list[Json]] = {}
        for edge in edges:
            if edge.direction in directions:
                found.setdefault(edge.name, []).append(edge.artifact_id)
        return {**found}

    return {
        "id": step.id,
        "distance": lineage.distances[step.id],
        "task": step.path,
        "state": step.state.value,
        "cached": step.state is ExecutionState.CACHED,
        "time": step.created_at,
        "run": {"id": run.id, "name": run.name, "experiment": run.experiment, "state": run.state.value},
        "pipeline": {"name": run.pipeline, "version": run.version_id, "sha256": run.digest},
        "code": None
        if code is None
        else {"component": code.component, "image": code.image, "sha256": code.digest},
        "parameters": dict(step.inputs.parameters),
        "inputs": ids(Direction.INPUT),
        "outputs": ids(Direction.OUTPUT, Direction.REUSED),
    }


def outputs_of(lineage: Lineage) -> Mapping[str, list[Edge]]:
    """By execution."""
    return _by(lineage, _SIDES[False][1], "execution_id")


def _by(lineage: Lineage, directions: frozenset[Direction], key: str) -> Mapping[str, list[Edge]]:
    found: dict[str, list[Edge]] = {}
    for edge in lineage.edges:
        if edge.direction in directions:
            found.setdefault(getattr(edge, key), []).append(edge)
    return found


def _abridged(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."


def _label(text: str) -> str:
    return escaped(" ".join(text.split()))
