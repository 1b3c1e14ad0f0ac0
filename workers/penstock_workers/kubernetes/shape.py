"""The shape of a task's pod: the leanest that can do the task."""

from __future__ import annotations

from enum import StrEnum

from penstock.execution.environments.bootstrap import executor_module, parse_bootstrap
from penstock.execution.environments.images import wanted_python
from penstock.model import Component, ContainerExecutor

_INTERPRETERS = frozenset({"python3", "/usr/bin/python3", "/usr/local/bin/python3"})


class Shape(StrEnum):
    """PLAIN: the task's container alone, as it is. IN_PLACE: our staging program runs the command in it.
    BESIDE: an init container and a sidecar of ours stage.
    """

    PLAIN = "plain"
    IN_PLACE = "in place"
    BESIDE = "beside"


def shape_of(component: Component, executor: ContainerExecutor) -> Shape:
    """Judged by what is written in the pipeline alone, so that everybody comes to the same answer."""
    interface = component.interface
    bare = not (interface.input_artifacts or interface.output_artifacts or interface.output_parameters)
    if bare and not is_python_component(executor):
        return Shape.PLAIN
    return Shape.IN_PLACE if executor.command and has_python(executor) else Shape.BESIDE


def has_python(executor: ContainerExecutor) -> bool:
    """Whether the image surely has `python3`: its command says so, or its name."""
    if is_python_component(executor) or (executor.command[:1] and executor.command[0] in _INTERPRETERS):
        return True
    wanted = wanted_python(executor.image)
    return wanted is not None and wanted.version[:1] != (2,)


def is_python_component(executor: ContainerExecutor) -> bool:
    """Compiled from a Python function: with pip in front, or with the SDK in its image."""
    return executor_module(executor.command) is not None or parse_bootstrap(executor.command) is not None
