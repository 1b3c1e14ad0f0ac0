"""What a task becomes in a pod: its shape, its words with every placeholder resolved, its places.

Paths are KFP's own: an artifact at `s3://bucket/key` is `/s3/bucket/key` for the task, as the SDK works out
by itself.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from penstock.artifacts import scheme_of
from penstock.artifacts.web import SCHEMES as WEB
from penstock.artifacts.web import name_of
from penstock.errors import TaskError
from penstock.execution.environments.bootstrap import PipInstall, parse_bootstrap
from penstock.execution.order import LaunchOrder
from penstock.execution.platform import workspace_fields
from penstock.execution.process.attempt_folder import file_name
from penstock.execution.process.executor_input import compose
from penstock.model import Artifact, ContainerExecutor, JsonObject
from penstock.planner.placeholders import local_path, resolve_arguments, resolve_text
from penstock_workers.kubernetes.shape import Shape, shape_of

PARAMETERS: Final = "/tmp/kfp/outputs"
DOWNLOADS: Final = "/tmp/penstock"
MOUNTS: Final = ("/s3", "/gcs", "/minio")


@dataclass(frozen=True, slots=True)
class Incoming:
    """One input artifact, and where the task finds it; `path` is empty for what nobody here can read."""

    what: str
    artifact: Artifact
    path: str


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Where the task leaves its outputs; `artifacts` has (path, URI)."""

    executor_output: str
    task_root: str
    parameters: Mapping[str, str]
    artifacts: Mapping[str, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class PodTask:
    """`bootstrap` is the words that were taken off the front of the command because they install packages;
    `installs` says which.
    """

    shape: Shape
    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    variables: Mapping[str, str]
    resources: JsonObject
    incoming: tuple[Incoming, ...]
    outgoing: Outgoing
    bootstrap: tuple[str, ...] = ()
    installs: tuple[PipInstall, ...] = ()

    @property
    def folders(self) -> tuple[str, ...]:
        """The top folders that inputs and outputs lie in; a pod gives the task an empty volume at each."""
        paths = [one.path for one in self.incoming if one.path]
        if self.shape is not Shape.PLAIN:
            paths += [self.outgoing.executor_output, *(path for path, _ in self.outgoing.artifacts.values())]
            if self.shape is Shape.BESIDE:
                paths += self.outgoing.parameters.values()
        tops = (PARAMETERS, DOWNLOADS, *MOUNTS)
        return tuple(top for top in tops if any(path.startswith(f"{top}/") for path in paths))


def pod_task(order: LaunchOrder, executor: ContainerExecutor, *, archive: bool) -> PodTask:
    """With `archive`, a Python component loses the pip step in front of its command.

    Raises TaskError for a placeholder without a value, or an empty command.
    """
    shape = shape_of(order.component, executor)
    incoming = tuple(_incoming(order))
    outgoing = _outgoing(order)
    given = compose(
        order,
        _uris(order, incoming),
        outgoing.parameters,
        dict(order.output_uris),
        outgoing.executor_output,
    )
    fields = {
        **order.run.placeholders(),
        **workspace_fields(order.workspace),
        "pipeline_task_name": order.task_name,
        "pipeline_task_uuid": order.attempt_id,
    }
    declared = order.component.interface.input_parameters.items()
    defaults = {name: one.default for name, one in declared if one.has_default}
    bootstrap = parse_bootstrap(executor.command) if archive else None
    command = bootstrap.command if bootstrap else executor.command
    words = resolve_arguments(command, given, fields, defaults=defaults)
    args = resolve_arguments(executor.args, given, fields, defaults=defaults)
    if (executor.command and not (words or args)) or words[:1] == [""]:
        raise TaskError(
            f"the command of task '{order.task_name}' is empty once its placeholders are resolved"
        )

    def text(template: str) -> str:
        return resolve_text(template, given, fields, defaults=defaults)

    return PodTask(
        shape,
        text(executor.image),
        tuple(words),
        tuple(args),
        {one.name: text(one.value) for one in executor.env},
        _resources(executor, text),
        incoming,
        outgoing,
        executor.command[:3] if bootstrap else (),
        bootstrap.installs if bootstrap else (),
    )


def _incoming(order: LaunchOrder) -> Iterator[Incoming]:
    seen: set[str] = set()
    for name, many in order.inputs.artifacts.items():
        for position, one in enumerate(many):
            path = _path(one, name, position)
            yield Incoming(f"input artifact '{name}'", one, "" if path in seen else path)
            seen.add(path)


def _path(artifact: Artifact, name: str, position: int) -> str:
    scheme = scheme_of(artifact.uri)
    if scheme in WEB:
        return posixpath.join(DOWNLOADS, file_name(name), str(position), name_of(artifact.uri))
    return local_path(artifact.uri, artifact.metadata) if scheme != "file" else ""


def _uris(order: LaunchOrder, incoming: tuple[Incoming, ...]) -> dict[str, tuple[str, ...]]:
    """As the task is told: what comes from the web, for which the SDK knows no path, by its path."""
    return {
        name: tuple(
            _path(one, name, position) if scheme_of(one.uri) in WEB else one.uri
            for position, one in enumerate(many)
        )
        for name, many in order.inputs.artifacts.items()
    }


def _outgoing(order: LaunchOrder) -> Outgoing:
    root = local_path(order.task_uri)
    if not root:
        raise TaskError(
            f"pods cannot reach the pipeline root {order.run.pipeline_root!r}; give one that they can, such "
            "as --pipeline-root s3://bucket/prefix"
        )
    interface = order.component.interface
    return Outgoing(
        executor_output=f"{PARAMETERS}/.output_metadata.json",
        task_root=root,
        parameters={name: f"{PARAMETERS}/{file_name(name)}" for name in interface.output_parameters},
        artifacts={
            name: (local_path(order.output_uris[name]), order.output_uris[name])
            for name in interface.output_artifacts
        },
    )


def _resources(executor: ContainerExecutor, text: Callable[[str], str]) -> JsonObject:
    found = executor.resources
    limits = {"cpu": text(found.cpu_limit), "memory": text(found.memory_limit)}
    if found.accelerator is not None:
        limits[text(found.accelerator.type)] = text(found.accelerator.count)
    requests = {"cpu": text(found.cpu_request), "memory": text(found.memory_request)}
    both = {"limits": _filled(limits), "requests": _filled(requests)}
    return {name: value for name, value in both.items() if value}


def _filled(quantities: Mapping[str, str]) -> JsonObject:
    return {name: value for name, value in quantities.items() if name and value}
