"""A pipeline drawn: as an indented outline, and as a Mermaid flowchart."""

from __future__ import annotations

import json
from collections.abc import Iterator

from penstock.model import (
    Component,
    ContainerExecutor,
    Dag,
    ParameterLoop,
    Pipeline,
    Task,
    TriggerStrategy,
)
from penstock.planner.expressions import abridged


def outline(pipeline: Pipeline) -> str:
    """Name, inputs with defaults, tasks (indented by DAG, each with what it waits for), outputs."""
    lines = [f"pipeline {pipeline.name}" + (f" ({pipeline.display_name})" if pipeline.display_name else "")]
    if pipeline.description:
        lines.append(f"  {pipeline.description.splitlines()[0]}")
    lines.append(f"  schema {pipeline.schema_version}, {pipeline.sdk_version}, sha256 {pipeline.digest[:12]}")
    interface = pipeline.root.interface
    if interface.input_parameters:
        lines.append("inputs")
        for name, parameter in interface.input_parameters.items():
            more = " (optional)" if parameter.optional else ""
            if parameter.has_default:
                more = f" = {json.dumps(parameter.default, ensure_ascii=False)}"
            lines.append(f"  {name}: {parameter.type.value}{more}")
    lines.append("tasks")
    lines.extend(_dag_lines(pipeline, pipeline.root, 1))
    if interface.output_parameters or interface.output_artifacts:
        lines.append("outputs")
        lines.extend(f"  {name}: {output.type.value}" for name, output in interface.output_parameters.items())
        lines.extend(f"  {name}: {output.type.name}" for name, output in interface.output_artifacts.items())
    return "\n".join(lines)


def mermaid(pipeline: Pipeline) -> str:
    """A flowchart: DAGs and loops as subgraphs, an arrow for each task that waits for another."""
    lines = ["flowchart TD"]
    lines.extend(_mermaid_dag(pipeline, pipeline.root, "root", 1))
    return "\n".join(lines)


def traits(pipeline: Pipeline, task: Task) -> list[str]:
    """What sets the task apart: `loop over items, at most 2 at once`, `if …`, `3 retries`."""
    found: list[str] = []
    loop = task.loop
    if loop is not None:
        literal = loop.raw if isinstance(loop, ParameterLoop) else None
        over = loop.items_input if literal is None else f"{len(literal)} items"
        over = over.removeprefix("pipelinechannel--")
        found.append(
            f"loop over {over}" + (f", at most {loop.parallelism} at once" if loop.parallelism else "")
        )
    if task.trigger.condition:
        found.append(f"if {abridged(task.trigger.condition)}")
    if task.trigger.strategy is TriggerStrategy.ALL_UPSTREAM_TASKS_COMPLETED:
        found.append("runs although upstream failed")
    if task.retry is not None:
        tries = task.retry.max_retries
        found.append(f"{tries} {'retry' if tries == 1 else 'retries'}")
    component = pipeline.component_of(task)
    if component.dag is None:
        executor = pipeline.executor_of(component)
        if isinstance(executor, ContainerExecutor):
            found.append(executor.image)
        else:
            found.append("importer")
    return found


def _dag_lines(pipeline: Pipeline, component: Component, depth: int) -> Iterator[str]:
    dag = component.dag
    for task in dag.tasks.values() if dag is not None else ():
        after = f" after {', '.join(task.upstream)}" if task.upstream else ""
        about = "; ".join(traits(pipeline, task))
        yield "  " * depth + f"{task.name}{after}" + (f"  [{about}]" if about else "")
        yield from _dag_lines(pipeline, pipeline.component_of(task), depth + 1)


def _mermaid_dag(pipeline: Pipeline, component: Component, prefix: str, depth: int) -> Iterator[str]:
    dag = component.dag
    if dag is None:
        return
    pad = "  " * depth
    identities = {name: f"{prefix}_{index}" for index, name in enumerate(dag.tasks)}
    for name, task in dag.tasks.items():
        inner = pipeline.component_of(task)
        label = _label(name, task)
        if isinstance(inner.body, Dag):
            yield f'{pad}subgraph {identities[name]}["{label}"]'
            yield from _mermaid_dag(pipeline, inner, identities[name], depth + 1)
            yield f"{pad}end"
        else:
            yield f'{pad}{identities[name]}["{label}"]'
    for name, task in dag.tasks.items():
        for upstream in task.upstream:
            arrow = "-.->" if task.trigger.strategy is TriggerStrategy.ALL_UPSTREAM_TASKS_COMPLETED else "-->"
            yield f"{pad}{identities[upstream]} {arrow} {identities[name]}"


def _label(name: str, task: Task) -> str:
    loop = " (loop)" if task.loop is not None else ""
    condition = f"<br/>if {escaped(abridged(task.trigger.condition))}" if task.trigger.condition else ""
    return f"{escaped(name)}{loop}{condition}"


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
