"""What a pipeline's Kubernetes configuration means where there is no Kubernetes."""

from __future__ import annotations

import re
import shlex
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

from penstock.errors import TaskError
from penstock.execution.order import LaunchOrder
from penstock.ir.features import FeatureName
from penstock.model import Json, JsonObject, Pipeline

SUPPORTED: Final = frozenset(
    {
        "activeDeadlineSeconds",
        "configMapAsEnv",
        "configMapAsVolume",
        "emptyDirMounts",
        "fieldPathAsEnv",
        "genericEphemeralVolume",
        "initContainers",
        "pvcMount",
        "secretAsEnv",
        "secretAsVolume",
    }
)

WITHOUT_EFFECT: Final = frozenset(
    {
        "enabledSharedMemory",
        "imagePullPolicy",
        "imagePullSecret",
        "nodeAffinity",
        "nodeSelector",
        "podAffinity",
        "podMetadata",
        "securityContext",
        "tolerations",
    }
)
"""Where a pod is placed, how it is labelled and as whom it runs: there is no pod, the task runs as the
caller.
"""

EMULATED: Final[Mapping[FeatureName, str]] = {
    FeatureName.PIPELINE_ROOT: "used if it can be, and PENSTOCK_PIPELINE_ROOT does not say otherwise",
    FeatureName.RESOURCES: "recorded, not enforced: a process has the whole machine",
    FeatureName.ACCELERATOR: "not reserved: a process sees the accelerators that the machine has",
    FeatureName.NODE_SELECTOR: "without effect: there is one machine",
    FeatureName.TOLERATIONS: "without effect: there is one machine",
    FeatureName.NODE_AFFINITY: "without effect: there is one machine",
    FeatureName.POD_AFFINITY: "without effect: there are no pods",
    FeatureName.IMAGE_PULL_SECRET: "without effect: no image is pulled",
    FeatureName.IMAGE_PULL_POLICY: "without effect: no image is pulled",
    FeatureName.SECURITY_CONTEXT: "without effect: a task runs as you",
    FeatureName.SHARED_MEMORY: "without effect: a process has the machine's /dev/shm",
    FeatureName.POD_METADATA: "only what field paths read of it: there is no pod",
    FeatureName.FIELD_PATH_AS_ENV: "values of the run and of this machine",
    FeatureName.SECRET_AS_ENV: "read by its reference, else from secrets/NAME/KEY in the home",
    FeatureName.SECRET_AS_VOLUME: "files in memory, read by reference, else from secrets/NAME in the home",
    FeatureName.CONFIG_MAP_AS_ENV: "read from configmaps/NAME/KEY in the home",
    FeatureName.CONFIG_MAP_AS_VOLUME: "the folder configmaps/NAME in the home",
    FeatureName.CREATE_PVC: "a folder volumes/NAME in the home",
    FeatureName.DELETE_PVC: "removes volumes/NAME in the home",
    FeatureName.PVC_MOUNT: "the folder volumes/NAME in the home",
    FeatureName.EPHEMERAL_VOLUME: "a folder of the attempt",
    FeatureName.EMPTY_DIR: "a folder of the attempt",
    FeatureName.WORKSPACE: "a folder of the run",
    FeatureName.INIT_CONTAINER: "its command runs before the task's, as a process of this machine",
    FeatureName.TIME_TO_LIVE: "without effect: records stay until they are removed",
}
"""What `doctor` says of features that a process is given in another way than a pod."""

WORKSPACE: Final = "/kfp-workspace"

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_KEY: Final = re.compile(r"[A-Za-z0-9._-]{1,253}")
_METADATA: Final = re.compile(r"metadata\.(labels|annotations)\['(?P<key>[^']*)'\]")


class PlatformRefusedError(TaskError):
    """The task asks for something of Kubernetes that a process on this machine cannot be given."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """The directory or file `source` appears to the task as `target`."""

    source: Path
    target: Path


@dataclass(slots=True)
class StandIn:
    """What stands in for the pod's configuration. `before` are the commands of init containers, in order."""

    variables: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    mounts: list[Mounted] = field(default_factory=list[Mounted])
    before: list[str] = field(default_factory=list[str])


def check_platform(platform: Mapping[str, Json]) -> None:
    """Raises PlatformRefusedError, naming the feature, for what a process on this machine cannot be given."""
    for feature, wanted in platform.items():
        if feature not in SUPPORTED and feature not in WITHOUT_EFFECT and asks(wanted):
            raise PlatformRefusedError(
                f"it uses Kubernetes' {feature}, which a process on this machine cannot be given; "
                "run it with a Kubernetes launcher"
            )


def asks(wanted: Json) -> bool:
    """Whether the configuration asks for anything: the SDK also writes features whose parameters are all
    null.
    """
    if isinstance(wanted, dict):
        return any(asks(one) for one in wanted.values())
    if isinstance(wanted, list):
        return any(asks(one) for one in wanted)
    return wanted not in (None, "", False)


def stand_in(order: LaunchOrder, home: Path, scratch: Path) -> StandIn:
    """What the task of `order` is given instead of its pod's configuration, whose parameters are resolved.

    Config maps are folders `<home>/configmaps/<name>` with a file per key, volume claims
    `<home>/volumes/<name>`; `scratch` holds what lives as long as the attempt. Secrets are not among it.
    Raises PlatformRefusedError, saying what to create, for a config map or key that is not there.
    """
    found = StandIn()
    platform = order.platform
    source = _ConfigMaps(home / "configmaps")
    for entry in _entries(platform, "configMapAsEnv"):
        found.variables |= source.variables(entry)
    for entry in _entries(platform, "configMapAsVolume"):
        found.mounts += source.volume(entry)
    for entry in _entries(platform, "fieldPathAsEnv"):
        found.variables[_text(entry, "name")] = field_path(order, _text(entry, "fieldPath"))
    for entry in _entries(platform, "pvcMount"):
        name = _text(entry, "pvcNameParameter") or _text(entry, "name")
        if name:
            volume = claim(home, name)
            volume.mkdir(mode=0o700, parents=True, exist_ok=True)
            found.mounts.append(Mounted(_below(volume, _text(entry, "subPath")), _target(entry)))
    for entry in (*_entries(platform, "emptyDirMounts"), *_entries(platform, "genericEphemeralVolume")):
        place = scratch / "volumes" / _checked(_text(entry, "volumeName"), "volume")
        place.mkdir(parents=True, exist_ok=True)
        found.mounts.append(Mounted(place, _target(entry)))
    for entry in _entries(platform, "initContainers"):
        found.before.append(_init_command(entry))
    if order.workspace:
        place = home / "workspaces" / order.run.run_id
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        found.mounts.append(Mounted(place, Path(WORKSPACE)))
    return found


def workspace_fields(has_workspace: bool) -> dict[str, str]:
    """The placeholder of the workspace, by its name; none without a workspace."""
    return {"workspace_path": WORKSPACE} if has_workspace else {}


def claim(home: Path, name: str) -> Path:
    """The folder of a volume claim. Raises PlatformRefusedError for what is no Kubernetes name."""
    return home / "volumes" / _checked(name, "volume claim")


def field_path(order: LaunchOrder, path: str) -> str:
    """The value that the downward API would give; a label or annotation that is not set is the empty text."""
    metadata = _METADATA.fullmatch(path)
    if metadata is not None:
        pod = order.platform.get("podMetadata")
        values = cast("JsonObject", pod).get(metadata[1]) if isinstance(pod, dict) else None
        return str(cast("JsonObject", values).get(metadata["key"], "")) if isinstance(values, dict) else ""
    known = {
        "metadata.name": f"{order.run.resource_name}-{order.attempt_id[-10:]}",
        "metadata.namespace": "default",
        "metadata.uid": order.attempt_id,
        "spec.nodeName": socket.gethostname(),
        "spec.serviceAccountName": "default",
        "status.hostIP": "127.0.0.1",
        "status.podIP": "127.0.0.1",
    }
    if path not in known:
        raise PlatformRefusedError(
            f"the field path '{path}' has no meaning outside a pod; known are {', '.join(known)}"
        )
    return known[path]


def names_of(pipeline: Pipeline, kind: str) -> set[str]:
    """Names of the secrets (`kind` is secret) or config maps (configMap) that the pipeline's tasks refer to.

    One that comes from a parameter is given as `<parameter>`, in angle brackets.
    """
    found: set[str] = set()
    for component in pipeline.components.values():
        for feature, entries in pipeline.executor_platform(component).items():
            if feature.startswith(kind) and isinstance(entries, list):
                found.update(_referred(entry, kind) for entry in entries if isinstance(entry, dict))
    return found - {""}


def claims_of(platform: Mapping[str, Json]) -> list[str]:
    """Names of the volume claims in a resolved configuration; they are part of KFP's cache key."""
    entries = _entries(platform, "pvcMount")
    return [name for entry in entries if (name := _text(entry, "pvcNameParameter") or _text(entry, "name"))]


@dataclass(frozen=True, slots=True)
class _ConfigMaps:
    folder: Path

    def variables(self, entry: JsonObject) -> dict[str, str]:
        name = _referred_value(entry)
        optional = bool(entry.get("optional"))
        found: dict[str, str] = {}
        for one in _entries(entry, "keyToEnv") if name else ():
            key = _text(one, "configMapKey")
            value = self._read(name, key, optional)
            if value is not None:
                found[_text(one, "envVar")] = value
        return found

    def volume(self, entry: JsonObject) -> list[Mounted]:
        name = _referred_value(entry)
        if not name:
            return []
        place = self.folder / _checked(name, "config map")
        if not place.is_dir():
            if entry.get("optional"):
                return []
            raise self._missing(name, "")
        return [Mounted(place, _target(entry))]

    def _read(self, name: str, key: str, optional: bool) -> str | None:
        if not _KEY.fullmatch(key) or key in (".", ".."):
            raise PlatformRefusedError(f"'{key}' is not a key that a config map can have")
        try:
            return (self.folder / _checked(name, "config map") / key).read_text("utf-8")
        except OSError:
            if optional:
                return None
            raise self._missing(name, key) from None

    def _missing(self, name: str, key: str) -> PlatformRefusedError:
        what = f"key '{key}' of the config map '{name}'" if key else f"config map '{name}'"
        where = self.folder / name / (key or "<key>")
        return PlatformRefusedError(
            f"the {what} is needed and not there; write its value into the file {where}"
        )


def _entries(config: Mapping[str, Json], key: str) -> Iterator[JsonObject]:
    found = config.get(key)
    return (one for one in (found if isinstance(found, list) else ()) if isinstance(one, dict))


def _text(entry: Mapping[str, Json], key: str) -> str:
    found = entry.get(key)
    return found if isinstance(found, str) else ""


def _referred_value(entry: JsonObject) -> str:
    """The name, after its parameter was resolved; empty when that was null, and then there is nothing to
    do.
    """
    if "configMapNameParameter" in entry:
        return _text(entry, "configMapNameParameter")
    return _text(entry, "configMapName") or _text(entry, "name")


def _referred(entry: JsonObject, kind: str) -> str:
    match entry.get(f"{kind}NameParameter"):
        case {"runtimeValue": {"constant": str(name)}}:
            return name
        case {"componentInputParameter": str(name)}:
            return f"<{name}>"
        case {"taskOutputParameter": {"producerTask": str(task), "outputParameterKey": str(output)}}:
            return f"<{task}.{output}>"
        case _:
            return _text(entry, f"{kind}Name")


def _target(entry: JsonObject) -> Path:
    return mount_point(_text(entry, "mountPath"))


def mount_point(text: str) -> Path:
    """Raises PlatformRefusedError for anything but an absolute path below the root."""
    path = Path(text)
    if not path.is_absolute() or ".." in path.parts or path == Path("/") or "\0" in text:
        raise PlatformRefusedError(
            f"nothing can be mounted at '{text}': a mount path is absolute and below /"
        )
    return path


def _below(volume: Path, sub_path: str) -> Path:
    path = Path(sub_path)
    if path.is_absolute() or ".." in path.parts or "\0" in sub_path:
        raise PlatformRefusedError(f"the sub-path '{sub_path}' of a volume must stay inside it")
    place = volume / path
    place.mkdir(parents=True, exist_ok=True)
    if not place.resolve().is_relative_to(volume.resolve()):
        raise PlatformRefusedError(f"the sub-path '{sub_path}' of a volume leads out of it")
    return place


def _init_command(entry: JsonObject) -> str:
    """An init container as one shell command; its words are quoted, and run as they stand."""
    words = [*_words_of(entry, "command"), *_words_of(entry, "args")]
    if not words:
        raise PlatformRefusedError(
            f"the init container '{_text(entry, 'name')}' has no command, and what its image would run is "
            "not known here"
        )
    variables = [f"{_text(one, 'name')}={_text(one, 'value')}" for one in _entries(entry, "env")]
    return shlex.join(["env", *variables, *words] if variables else words)


def _words_of(entry: JsonObject, key: str) -> Sequence[str]:
    found = entry.get(key)
    return [str(one) for one in found] if isinstance(found, list) else []


def _checked(name: str, what: str) -> str:
    if not _NAME.fullmatch(name):
        raise PlatformRefusedError(f"'{name}' is not a name that a {what} can have in Kubernetes")
    return name
