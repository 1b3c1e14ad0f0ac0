"""What a container executor becomes on this machine: an environment for it, its words, its variables."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from penstock.errors import TaskError
from penstock.execution.environments.bootstrap import PipInstall, executor_module, parse_bootstrap
from penstock.execution.environments.cache import Environments
from penstock.execution.environments.environment import Environment, EnvironmentRequest, Hold
from penstock.execution.environments.images import (
    ImageRefusedError,
    PythonRequest,
    choose_python,
    wanted_python,
)
from penstock.execution.environments.private_venv import private_venv
from penstock.execution.environments.pythons import running_python
from penstock.execution.order import LaunchOrder
from penstock.execution.platform import StandIn, workspace_fields
from penstock.execution.process.arguments import ENTRY, LIMIT, URIS, by_file, check, size, through_entry
from penstock.execution.process.attempt_folder import AttemptFolder
from penstock.execution.process.executor_input import Places, executor_input, with_uris
from penstock.execution.process.task_environment import host_path, task_environment
from penstock.execution.volumes import is_volume_task
from penstock.model import ContainerExecutor, JsonObject
from penstock.planner.placeholders import resolve_arguments, resolve_text

_OTHER_SHELLS = (
    "alpine",
    "busybox",
    "ubi",
    "redhat",
    "fedora",
    "centos",
    "rockylinux",
    "almalinux",
    "amazonlinux",
)
_PATHS_AS_URIS = (2, 5)
"""The first kfp whose artifacts have a path when their URI is one."""

_KFP = PipInstall(("kfp>=2.1",))
_KFP_BESIDE = PipInstall(("kfp>=2.1", 'typing-extensions>=3.7.4,<5; python_version < "3.9"'), ("--no-deps",))
"""As the SDK's own bootstrap has it: nothing that other packages pin is touched."""
_NAMES_KFP = re.compile(r"kfp(?![\w.-])|.*\bkubeflow/pipelines\b")


class RefusedError(TaskError):
    """This launcher does not run the executor; the sentence says which would."""


@dataclass(frozen=True, slots=True)
class Program:
    """`paths` must stay reachable for it. `hold` keeps its environment; its descriptor goes to the
    process.
    """

    words: list[str]
    variables: dict[str, str] = field(repr=False)
    notes: dict[str, str]
    paths: tuple[Path, ...] = ()
    hold: Hold | None = None


def with_stand_in(program: Program, given: StandIn) -> Program:
    """The program with the variables of `given`, after its init containers' commands have succeeded."""
    words = program.words
    if given.before:
        words = ["/bin/sh", "-c", " && ".join([*given.before, 'exec "$@"']), "sh", *words]
    return replace(program, words=words, variables={**program.variables, **given.variables})


@dataclass(frozen=True, slots=True)
class Programs:
    environments: Environments
    strict_images: bool = False
    pass_env: tuple[str, ...] = ()

    def isolation(self, executor: ContainerExecutor) -> str:
        """`process:cpython-3.11.7` or `process:host`. Raises RefusedError or ImageRefusedError."""
        if is_volume_task(executor):
            return "process:host"
        request = self.request(executor)
        self._refuse(executor, request)
        if request is None:
            return "process:host"
        python = request.python.python
        return f"process:{python.implementation}-{python.version}"

    def request(self, executor: ContainerExecutor) -> EnvironmentRequest | None:
        """The Python environment that stands in for the image; None for an image that is not about Python."""
        bootstrap = parse_bootstrap(executor.command)
        wanted = wanted_python(executor.image)
        installs = bootstrap.installs if bootstrap else ()
        module = executor_module(executor.command)
        if bootstrap is None and module is None and wanted is None:
            return None
        named = any(_NAMES_KFP.match(word) for one in installs for word in one.requirements)
        if module == "kfp.dsl.executor_main" and not named:
            # Compiled without installing kfp: its image has it.
            installs = (*installs, _KFP_BESIDE) if installs else (_KFP,)
        if wanted is None:
            if self.strict_images:
                raise ImageRefusedError(
                    f"which Python is in the image {executor.image!r} cannot be told from its name; "
                    "run without --strict-images, or on a launcher that runs images (kubernetes)"
                )
            wanted = PythonRequest(executor.image, running_python().release[:2])
        pythons = self.environments.available_pythons()
        return EnvironmentRequest(choose_python(wanted, pythons, strict=self.strict_images), installs)

    def prepare(
        self,
        order: LaunchOrder,
        executor: ContainerExecutor,
        places: Places,
        folder: AttemptFolder,
        temporary: Path,
        on_progress: Callable[[str], None] | None = None,
        canceled: Callable[[], bool] | None = None,
    ) -> Program:
        """Resolve everything, build the environment if need be. Raises TaskError (BuildCanceledError once
        `canceled` says so); OSError where nothing can be written.
        """
        request = self.request(executor)
        self._refuse(executor, request)
        # What is not the SDK, or cannot be told where a URI's content is, gets paths in its ExecutorInput.
        told = _told_by_entry(executor) if places.remote else False
        given = with_uris(order, places)
        document = given if told else executor_input(order, places)
        words = _words(order, executor, given, document)
        declared = _declared(order, executor, given, document)
        notes: dict[str, str] = {}
        shared, hold = None, None
        if request is not None:
            shared = self.environments.ensure(request, on_progress, canceled)
            hold = shared.hold()
            notes |= _environment_notes(shared)
        try:
            shell = _shell(executor.image, folder)
            if shell is not None:
                notes["shell"] = "bash, as the image's sh is not this machine's"
            variables = task_environment(
                order,
                declared,
                mark=folder.mark,
                home=folder.work,
                temporary=temporary,
                environment=private_venv(shared, folder.path / "venv") if shared else None,
                programs=[one for one in (shell, shared.bin if shared else None) if one],
                pass_on=self.pass_env,
            )
            if told:
                variables[URIS] = str(_write_uris(folder, places))
            else:
                _lay_paths(folder.work, places)
            words = _fitting(words, order, executor, shared, folder, told)
            check(words, variables, order.inputs.parameters, order.task_name)
            found = shutil.which(words[0], path=variables["PATH"])
            if found is None:
                raise _not_here(words[0], executor.image)
            # By its path: the shell that starts it would run a builtin of that name, an `echo` of its own.
            words = [found, *words[1:]]
        except BaseException:
            if hold is not None:
                hold.release()
            raise
        notes["program"] = words[0]
        paths = [ENTRY, folder.path]
        if shared is not None:
            paths += [shared.path, Path(os.path.realpath(shared.python))]
        return Program(words, variables, notes, tuple(paths), hold)

    def _refuse(self, executor: ContainerExecutor, request: EnvironmentRequest | None) -> None:
        if not executor.command and not executor.args:
            raise RefusedError(
                f"the container of image {executor.image!r} has neither command nor arguments, and what "
                "its image starts by itself is not known here; give it a command, or run it on a launcher "
                "that runs images (kubernetes)"
            )
        words = (*executor.command, *executor.args)
        if executor_module(words) and not any("--component_module_path" in word for word in words):
            raise RefusedError(
                f"the source of this Python component is in its image {executor.image!r} (it was built with "
                "target_image); run it on a launcher that runs images (kubernetes), or compile it without "
                "target_image"
            )
        if request is not None:
            return
        first = (*executor.command, *executor.args)[0]
        if first.startswith("{") or "{{$" in first:
            return
        if shutil.which(first, path=host_path()) is None:
            raise _not_here(first, executor.image)


def _words(
    order: LaunchOrder, executor: ContainerExecutor, given: JsonObject, document: JsonObject
) -> list[str]:
    bootstrap = parse_bootstrap(executor.command)
    command = bootstrap.command if bootstrap else executor.command
    fields = _fields(order)
    defaults = {
        name: one.default
        for name, one in order.component.interface.input_parameters.items()
        if one.has_default
    }
    words = resolve_arguments([*command, *executor.args], given, fields, defaults=defaults, document=document)
    if not words or not words[0]:
        raise RefusedError(
            f"the command of task '{order.task_name}' is empty once its placeholders are resolved"
        )
    return words


def _declared(
    order: LaunchOrder, executor: ContainerExecutor, given: JsonObject, document: JsonObject
) -> dict[str, str]:
    fields = _fields(order)
    return {one.name: resolve_text(one.value, given, fields, document=document) for one in executor.env}


def _told_by_entry(executor: ContainerExecutor) -> bool:
    """Whether its SDK is started by a command that our entry can go into."""
    bootstrap = parse_bootstrap(executor.command)
    command = list(bootstrap.command if bootstrap else executor.command)
    module = executor_module(executor.command)
    return module is not None and through_entry(command, module) != command


def _write_uris(folder: AttemptFolder, places: Places) -> Path:
    path = folder.path / "uris.json"
    path.write_text(json.dumps({uri: str(local) for uri, local in places.remote.items()}), "utf-8")
    return path


def _lay_paths(folder: Path, places: Places) -> None:
    """For a program that opens a URI as if it were a path, as components do that only `kfp.local` ever ran:
    from the folder it runs in, `s3://bucket/key` leads to what stands for that URI.
    """
    for uri, local in sorted(places.remote.items(), key=lambda one: len(one[0])):
        path = folder / uri.replace("://", ":/", 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(path) and path.parent.resolve() != local.parent.resolve():
            path.symlink_to(local)


def _fields(order: LaunchOrder) -> dict[str, str]:
    return {
        **order.run.placeholders(),
        **workspace_fields(order.workspace),
        "pipeline_task_name": order.task_name,
        "pipeline_task_uuid": order.attempt_id,
    }


def _fitting(
    words: list[str],
    order: LaunchOrder,
    executor: ContainerExecutor,
    shared: Environment | None,
    folder: AttemptFolder,
    told: bool,
) -> list[str]:
    """The words of a Python component, changed only where its kfp, URIs or the system's limit need it."""
    module = executor_module(executor.command)
    if module is None or shared is None:
        return words
    too_long = any(size(word) > LIMIT for word in words)
    if not (too_long or told or _is_old_kfp(shared.path)):
        return words
    words = through_entry(words, module)
    return by_file(words, order.attempt_id, folder.path / "arguments") if too_long else words


@functools.cache
def _is_old_kfp(home: Path) -> bool:
    for found in home.glob("lib/python*/site-packages/kfp-*.dist-info"):
        if version := re.match(r"kfp-(\d+)\.(\d+)", found.name):
            return (int(version[1]), int(version[2])) < _PATHS_AS_URIS
    return False


def _shell(image: str, folder: AttemptFolder) -> Path | None:
    """A folder whose `sh` is bash, for an image whose own `sh` knows `[[` as BusyBox's and bash do but dash
    does not.
    """
    bash = _bash()
    if bash is None or not any(name in image.lower() for name in _OTHER_SHELLS):
        return None
    shell = folder.path / "shell"
    shell.mkdir(exist_ok=True)
    if not (shell / "sh").is_symlink():
        (shell / "sh").symlink_to(bash)
    return shell


@functools.cache
def _bash() -> str | None:
    return shutil.which("bash") if os.path.basename(os.path.realpath("/bin/sh")) == "dash" else None


def _environment_notes(environment: Environment) -> dict[str, str]:
    notes = {"python": environment.python_version, "environment": environment.key}
    if environment.substituted:
        notes["substituted"] = environment.substituted
    if environment.notes:
        notes["installed"] = "; ".join(environment.notes)
    return notes


def _not_here(program: str, image: str) -> RefusedError:
    return RefusedError(
        f"the container of image {image!r} runs {program!r}, which is not on this machine; install it, or "
        "run the task on a launcher that runs images (kubernetes)"
    )
