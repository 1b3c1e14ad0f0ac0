"""Circles: of tasks that wait for each other, and of components that use each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from penstock.ir.fault import FaultError
from penstock.model import Component, Dag, Task

MAX_NESTING: Final = 100
"""Pipelines inside pipelines, loops and conditions included. Task paths and folders grow with it."""


def find_cycle(tasks: Mapping[str, Task]) -> list[str]:
    """One circle of tasks, its first repeated at the end; empty when there is none."""
    waiting = {name: len(task.upstream) for name, task in tasks.items()}
    dependents: dict[str, list[str]] = {}
    for name, task in tasks.items():
        for upstream in task.upstream:
            dependents.setdefault(upstream, []).append(name)
    ready = [name for name, count in waiting.items() if not count]
    while ready:
        name = ready.pop()
        del waiting[name]
        for dependent in dependents.get(name, ()):
            waiting[dependent] -= 1
            if not waiting[dependent]:
                ready.append(dependent)
    if not waiting:
        return []
    # Whatever is left waits for something that is left: going upstream must come round.
    name = min(waiting)
    seen: dict[str, int] = {}
    walk: list[str] = []
    while name not in seen:
        seen[name] = len(walk)
        walk.append(name)
        name = min(one for one in tasks[name].upstream if one in waiting)
    circle = walk[seen[name] :]
    first = circle.index(min(circle))
    circle = circle[first:] + circle[:first]
    return [*circle, circle[0]]


def find_recursion(root: Component, components: Mapping[str, Component]) -> list[str]:
    """One circle of component names, its first repeated at the end; empty when there is none.

    Raises FaultError when DAGs are nested deeper than MAX_NESTING.
    """
    heights: dict[str, int] = {}
    for start in components:
        stack = [(start, iter(_used(components[start])), [0])]
        path = {start: 0}
        if start in heights:
            continue
        while stack:
            name, uses, below = stack[-1]
            for used in uses:
                if used in path:
                    chain = [one for one, _, _ in stack[path[used] :]]
                    return [*chain, used]
                if used in heights:
                    below[0] = max(below[0], heights[used])
                    continue
                path[used] = len(stack)
                stack.append((used, iter(_used(components[used])), [0]))
                break
            else:
                stack.pop()
                del path[name]
                heights[name] = below[0] + 1
                if stack:
                    stack[-1][2][0] = max(stack[-1][2][0], heights[name])
    if 1 + max((heights[name] for name in _used(root)), default=0) > MAX_NESTING:
        raise FaultError(f"DAGs are nested deeper than {MAX_NESTING} levels", "root")
    return []


def _used(component: Component) -> list[str]:
    if not isinstance(component.body, Dag):
        return []
    return list(dict.fromkeys(task.component for task in component.body.tasks.values()))
