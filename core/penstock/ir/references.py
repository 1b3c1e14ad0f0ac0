"""What a pipeline's parts say of each other: names lead somewhere, inputs have sources, no circles."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Final

from penstock.ir.cycles import find_cycle, find_recursion
from penstock.ir.fault import FaultError, excerpt
from penstock.ir.names import MAX_NAME
from penstock.model import (
    ArtifactLoop,
    ArtifactSource,
    Component,
    ComponentInput,
    Dag,
    DagOutput,
    Executor,
    FinalStatus,
    ImporterExecutor,
    ParameterSource,
    ParameterType,
    RuntimeParameter,
    Task,
    TaskOutput,
)

# The system fills these; a task needs no source for them.
_GIVEN: Final = frozenset({ParameterType.TASK_CONFIG})
_LEAKED_ITEM: Final = (
    "KFP's compiler leaks loop items out of nested control flow (kubeflow/pipelines#13273) and KFP cannot "
    "run the result either: put the inner loop into a pipeline of its own, or loop over a pipeline parameter."
)


def check_references(
    root: Component,
    components: Mapping[str, Component],
    executors: Mapping[str, Executor],
) -> None:
    """Raises FaultError."""
    _component(root, root, components, executors, ("root",))
    for name, component in components.items():
        _component(component, root, components, executors, ("components", name))
    if chain := find_recursion(root, components):
        problem = f"a component uses itself: {' -> '.join(chain)}"
        raise FaultError(problem, "components", chain[0], remedy="Repeat work with a loop instead.")


def _component(
    component: Component,
    root: Component,
    components: Mapping[str, Component],
    executors: Mapping[str, Executor],
    steps: tuple[str, ...],
) -> None:
    try:
        body = component.body
        if isinstance(body, Dag):
            _Dag(component, body, root, components).check()
        elif body not in executors:
            raise FaultError(
                f"there is no executor {excerpt(body)} in deploymentSpec.executors{_hint(body, executors)}",
                "executorLabel",
            )
        else:
            _importer(component, executors[body], body)
    except FaultError as fault:
        raise fault.within(*steps) from None


def _importer(component: Component, executor: Executor, label: str) -> None:
    if not isinstance(executor, ImporterExecutor):
        return
    name = executor.uri_parameter
    if name is not None and name not in component.interface.input_parameters:
        raise FaultError(
            f"the importer {excerpt(label)} takes its URI from the undeclared input {excerpt(name)}",
            "inputDefinitions",
        )
    if len(component.interface.output_artifacts) != 1:
        raise FaultError(
            "an importer must declare exactly one output artifact",
            "outputDefinitions",
            "artifacts",
        )


class _Dag:
    """The checks of one DAG; `owner` is the component whose body it is."""

    def __init__(
        self,
        owner: Component,
        dag: Dag,
        root: Component,
        components: Mapping[str, Component],
    ) -> None:
        self.owner = owner
        self.dag = dag
        self.root = root
        self.components = components

    def check(self) -> None:
        for task in self.dag.tasks.values():
            if task.component not in self.components:
                raise FaultError(
                    f"there is no component {_name(task.component, self.components)}",
                    *("dag", "tasks", task.name, "componentRef", "name"),
                )
        for task in self.dag.tasks.values():
            try:
                self._task(task)
            except FaultError as fault:
                raise fault.within("dag", "tasks", task.name) from None
        if cycle := find_cycle(self.dag.tasks):
            raise FaultError(
                f"the tasks wait for each other in a circle: {' -> '.join(cycle)}",
                *("dag", "tasks", cycle[0]),
                remedy="Remove one of these dependencies.",
            )
        self._outputs("parameters", self.dag.parameters, self.owner.interface.output_parameters)
        self._outputs("artifacts", self.dag.artifacts, self.owner.interface.output_artifacts)

    def _task(self, task: Task) -> None:
        tasks = self.dag.tasks
        for name in task.dependencies:
            if name not in tasks:
                raise FaultError(
                    f"there is no task {excerpt(name)} in this DAG{_hint(name, tasks)}",
                    "dependentTasks",
                )
        interface = self.components[task.component].interface
        items = task.loop.items_input if task.loop is not None else None
        declared = interface.input_parameters
        for (
            name,
            source,
        ) in task.parameters.items():  # may be undeclared: the compiler passes values of placeholders so
            self._parameter(name, source)
        for name, source in task.artifacts.items():
            if name not in interface.input_artifacts and name != items:
                known = interface.input_artifacts
                problem = f"{task.component} has no input artifact {_name(name, known)}"
                raise FaultError(problem, "inputs", "artifacts", name)
            self._artifact(name, source)
        if task.loop is not None:
            self._loop(task)
        item = task.loop.item if task.loop is not None else None
        for name, parameter in declared.items():
            if (
                name not in task.parameters
                and parameter.required
                and name != item
                and parameter.type not in _GIVEN
            ):
                raise FaultError(
                    f"the required parameter {excerpt(name)} of {task.component} has no source"
                    f"{self._stray(task, name)}",
                    *("inputs", "parameters"),
                    remedy="Give it a source, a default, or isOptional: true.",
                )
        for name, artifact in interface.input_artifacts.items():
            if name not in task.artifacts and not artifact.optional and name != item:
                raise FaultError(
                    f"the required artifact {excerpt(name)} of {task.component} has no source",
                    *("inputs", "artifacts"),
                    remedy="Give it a source, or isOptional: true.",
                )

    def _stray(self, task: Task, name: str) -> str:
        """An input of the task that the component does not declare is likely a wrong spelling of `name`."""
        declared = self.components[task.component].interface.input_parameters
        close = difflib.get_close_matches(name, [one for one in task.parameters if one not in declared], n=1)
        return f", but the task gives {excerpt(close[0])}" if close else ""

    def _parameter(self, name: str, source: ParameterSource) -> None:
        origin = source.origin
        steps = ("inputs", "parameters", name)
        if isinstance(origin, ComponentInput):
            known = self.owner.interface.input_parameters
            if origin.name not in known:
                raise FaultError(
                    f"the surrounding DAG has no input parameter {_name(origin.name, known)}",
                    *(*steps, "componentInputParameter"),
                    remedy=_LEAKED_ITEM if "loop-item" in origin.name else "",
                )
        elif isinstance(origin, TaskOutput):
            self._output("parameter", origin.task, origin.output, *steps, "taskOutputParameter")
        elif isinstance(origin, FinalStatus):
            if origin.task not in self.dag.tasks:
                problem = (
                    f"there is no task {excerpt(origin.task)} in this DAG{_hint(origin.task, self.dag.tasks)}"
                )
                raise FaultError(problem, *steps, "taskFinalStatus")
        elif isinstance(origin, RuntimeParameter):
            known = self.root.interface.input_parameters
            if origin.name not in known:
                raise FaultError(
                    f"the pipeline has no parameter {_name(origin.name, known)}",
                    *(*steps, "runtimeValue", "runtimeParameter"),
                )

    def _artifact(self, name: str, source: ArtifactSource) -> None:
        steps = ("inputs", "artifacts", name)
        if isinstance(source, TaskOutput):
            self._output("artifact", source.task, source.output, *steps, "taskOutputArtifact")
            return
        known = self.owner.interface.input_artifacts
        if source.name not in known:
            raise FaultError(
                f"the surrounding DAG has no input artifact {_name(source.name, known)}",
                *(*steps, "componentInputArtifact"),
            )

    def _output(self, what: str, producer: str, output: str, *steps: str) -> None:
        task = self.dag.tasks.get(producer)
        if task is None:
            raise FaultError(
                f"there is no task {excerpt(producer)} in this DAG{_hint(producer, self.dag.tasks)}",
                *steps,
            )
        interface = self.components[task.component].interface
        known = interface.output_parameters if what == "parameter" else interface.output_artifacts
        if output not in known:
            raise FaultError(
                f"the task {excerpt(producer)} ({task.component}) has no output {what} "
                f"{_name(output, known)}",
                *steps,
            )

    def _loop(self, task: Task) -> None:
        loop = task.loop
        assert loop is not None
        interface = self.components[task.component].interface
        over_artifacts = isinstance(loop, ArtifactLoop)
        field = "artifactIterator" if over_artifacts else "parameterIterator"
        given = task.artifacts if over_artifacts else task.parameters
        if loop.items_input and loop.items_input not in given:
            raise FaultError(
                f"the loop's items come from the input {excerpt(loop.items_input)}, which the task lacks"
                f"{_hint(loop.items_input, given)}",
                *(field, "items"),
            )
        taken = interface.input_artifacts if over_artifacts else interface.input_parameters
        if loop.item not in taken:
            raise FaultError(
                f"the loop's item goes to the input {excerpt(loop.item)}, which {task.component} lacks"
                f"{_hint(loop.item, taken)}",
                *(field, "itemInput"),
            )

    def _outputs(self, group: str, outputs: Mapping[str, DagOutput], declared: Collection[str]) -> None:
        what = group.removesuffix("s")
        for name, output in outputs.items():
            steps = ("dag", "outputs", group, name)
            if name not in declared:
                raise FaultError(
                    f"the output {what} {excerpt(name)} is not in outputDefinitions",
                    *steps,
                )
            for selector in output.selectors:
                self._output(what, selector.task, selector.output, *steps)


def _name(name: str, known: Collection[str]) -> str:
    """The name in quotes, and one of the known ones that it may have been meant for."""
    return excerpt(name) + _hint(name, known)


def _hint(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1) if len(name) <= MAX_NAME else []
    return f" (did you mean {excerpt(close[0])}?)" if close else ""
