"""What a document says without effect in penstock: one sentence each, so that nothing is ignored silently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from penstock.ir.fault import excerpt, place
from penstock.ir.platforms import KUBERNETES, strangers
from penstock.ir.shapes import mapping
from penstock.model import Component, ContainerExecutor, Dag, Executor, Json, JsonObject


def notes(
    document: JsonObject,
    platform: JsonObject,
    root: Component,
    components: Mapping[str, Component],
    executors: Mapping[str, Executor],
) -> tuple[str, ...]:
    """In alphabetical order, so that they do not depend on the document's."""
    return tuple(
        sorted(
            {
                *_executors(document),
                *_components(document, root, components),
                *_tasks(document, root, components),
                *_platforms(platform, executors),
            }
        )
    )


def _executors(document: JsonObject) -> Iterator[str]:
    for label, spec in mapping(mapping(document.get("deploymentSpec")).get("executors")).items():
        if "lifecycle" in mapping(mapping(spec).get("container")):
            where = place("deploymentSpec", "executors", label, "container", "lifecycle")
            yield f"{where} has no effect: hooks before the cache check are not run, by KFP neither."


def _components(document: JsonObject, root: Component, components: Mapping[str, Component]) -> Iterator[str]:
    used = {
        task.component
        for component in (root, *components.values())
        if isinstance(component.body, Dag)
        for task in component.body.tasks.values()
    }
    specs = mapping(document.get("components"))
    for name in components:
        if name not in used:
            yield f"{place('components', name)} is used by no task."
    for steps, spec in (
        (("root",), document.get("root")),
        *((("components", name), specs[name]) for name in specs),
    ):
        found = mapping(spec)
        if found.get("singlePlatformSpecs"):
            where = place(*steps, "singlePlatformSpecs")
            yield f"{where} has no effect: a pipeline's platform configuration is its second document."
        artifacts = mapping(mapping(found.get("outputDefinitions")).get("artifacts"))
        for output, artifact in artifacts.items():
            for field in ("properties", "customProperties"):
                if mapping(artifact).get(field):
                    where = place(*steps, "outputDefinitions", "artifacts", output, field)
                    yield f"{where} has no effect, in KFP neither: metadata has taken its place."


def _tasks(document: JsonObject, root: Component, components: Mapping[str, Component]) -> Iterator[str]:
    specs = mapping(document.get("components"))
    for component in (root, *components.values()):
        if not isinstance(component.body, Dag):
            continue
        steps = ("root",) if component is root else ("components", component.name)
        spec = document.get("root") if component is root else specs[component.name]
        tasks = mapping(mapping(mapping(spec).get("dag")).get("tasks"))
        for task in component.body.tasks.values():
            if task.loop is None and mapping(tasks[task.name]).get("iteratorPolicy"):
                where = place(*steps, "dag", "tasks", task.name, "iteratorPolicy")
                yield f"{where} has no effect: the task is no loop."


def _platforms(platform: JsonObject, executors: Mapping[str, Executor]) -> Iterator[str]:
    for name, value in mapping(platform.get("platforms")).items():
        where = place("platforms", name)
        if name != "kubernetes":
            yield f"{where} has no effect: the only platform that is known is kubernetes."
            continue
        for steps in strangers(value, KUBERNETES, "platforms", name):
            yield f"{place(*steps)} is not known and has no effect."
        spec = mapping(value)
        if spec.get("config"):
            yield f"{where}.config has no effect."
        for label in _labels(spec.get("deploymentSpec")):
            if not isinstance(executors.get(label), ContainerExecutor):
                yield (
                    f"{place('platforms', name, 'deploymentSpec', 'executors', label)} has no effect: "
                    f"{excerpt(label)} is no container of this pipeline."
                )


def _labels(value: Json) -> Iterator[str]:
    yield from mapping(mapping(value).get("executors"))
