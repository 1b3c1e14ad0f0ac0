"""A pipeline as a scheduler sees it that wants to know all tasks before anything runs: which of them it can
have as tasks of its own, and in which order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from graphlib import TopologicalSorter

from penstock.model import ROOT, Component, Pipeline, Retry, Task
from penstock.model import path as paths


class Form(StrEnum):
    """What a task of the pipeline is for the scheduler."""

    TASK = "TASK"
    """One task."""
    GROUP = "GROUP"
    """A nested pipeline: a group of its tasks."""
    LOOP = "LOOP"
    """A loop: a group that is there once for each item."""
    WHOLE = "WHOLE"
    """One task which runs all that is below it."""


@dataclass(frozen=True, slots=True)
class Item:
    """A task of the pipeline. In its `path` the iteration of the loop around it is `[*]`.

    `upstream` has the names of the tasks beside it that come first, `below` what a GROUP, or an iteration of
    a LOOP, consists of; the iterations of a LOOP with nothing below are tasks themselves. `leaves` is the
    number of leaf tasks of the pipeline in it, `why` says why it is WHOLE.
    """

    name: str
    path: str
    form: Form
    task: Task
    component: Component
    upstream: tuple[str, ...]
    below: tuple[Item, ...] = ()
    leaves: int = 1
    why: str = ""

    @property
    def retry(self) -> Retry | None:
        """Of one task. What is WHOLE is retried by whoever runs it, as its parts are."""
        return self.task.retry if self.form is not Form.WHOLE else None


def outline(pipeline: Pipeline) -> tuple[Item, ...]:
    """The tasks of the pipeline's own DAG, each after those that it waits for."""
    return _items(pipeline, pipeline.root, ROOT, in_loop=False)


def everything(items: Sequence[Item]) -> Iterator[Item]:
    """All of an outline, what is around before what is below."""
    for item in items:
        yield item
        yield from everything(item.below)


def _items(pipeline: Pipeline, component: Component, above: str, *, in_loop: bool) -> tuple[Item, ...]:
    dag = component.dag
    assert dag is not None
    order = TopologicalSorter({name: task.upstream for name, task in dag.tasks.items()}).static_order()
    return tuple(_item(pipeline, dag.tasks[name], above, in_loop=in_loop) for name in order)


def _item(pipeline: Pipeline, task: Task, above: str, *, in_loop: bool) -> Item:
    component = pipeline.component_of(task)
    path = paths.child(above, task.name)
    leaves = _leaves(pipeline, component)
    why = _why_whole(task, component, in_loop=in_loop)
    if why:
        return Item(task.name, path, Form.WHOLE, task, component, task.upstream, leaves=leaves, why=why)
    form = Form.LOOP if task.loop is not None else Form.TASK if component.dag is None else Form.GROUP
    inner = f"{path}[*]" if form is Form.LOOP else path
    below = (
        _items(pipeline, component, inner, in_loop=in_loop or form is Form.LOOP)
        if component.dag is not None
        else ()
    )
    return Item(task.name, path, form, task, component, task.upstream, below, leaves)


def _why_whole(task: Task, component: Component, *, in_loop: bool) -> str:
    if task.loop is not None and in_loop:
        return "it is a loop inside a loop"
    retried = task.retry is not None and task.retry.max_retries > 0
    if retried and (component.dag is not None or task.loop is not None):
        return "it is retried as a whole"
    return ""


def _leaves(pipeline: Pipeline, component: Component) -> int:
    dag = component.dag
    if dag is None:
        return 1
    return sum(_leaves(pipeline, pipeline.component_of(task)) for task in dag.tasks.values())
