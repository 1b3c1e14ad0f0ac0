"""What would become of a pipeline on this machine, before it is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from penstock.errors import TaskError
from penstock.execution.environments.images import wanted_python
from penstock.execution.launcher import Launcher
from penstock.execution.platform import names_of
from penstock.ir import features
from penstock.ir.features import FeatureName
from penstock.model import ContainerExecutor, Json, Pipeline


class Support(StrEnum):
    """Emulated: done in another way than on Kubernetes, which the finding tells."""

    RUNS = "runs"
    EMULATED = "emulated"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Finding:
    """`place` is the path in the document."""

    engine: str
    support: Support
    feature: str
    place: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`images`, `secrets` and `config_maps` are what the pipeline needs from outside; `notes` what has no
    effect.
    """

    findings: tuple[Finding, ...]
    images: tuple[str, ...]
    secrets: tuple[str, ...]
    config_maps: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def support(self) -> Support:
        """Refused as soon as anything is, emulated as soon as anything is."""
        found = {finding.support for finding in self.findings}
        return next((one for one in (Support.REFUSED, Support.EMULATED) if one in found), Support.RUNS)


_EMULATED: Mapping[FeatureName, str] = {
    FeatureName.PIPELINE_ROOT: "not used: artifacts go to PENSTOCK_PIPELINE_ROOT",
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
    FeatureName.SECRET_AS_ENV: "read from secrets/NAME/KEY in the home",
    FeatureName.SECRET_AS_VOLUME: "the folder secrets/NAME in the home",
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


def diagnose(pipeline: Pipeline, launcher: Launcher, engine: str = "embedded") -> Diagnosis:
    """What the embedded engine with this launcher makes of each feature. Builds and runs nothing."""
    return Diagnosis(
        findings=(*_features(pipeline, engine), *_executors(pipeline, launcher, engine)),
        images=tuple(
            sorted({one.image for one in pipeline.executors.values() if isinstance(one, ContainerExecutor)})
        ),
        secrets=tuple(sorted(names_of(pipeline, "secret"))),
        config_maps=tuple(sorted(names_of(pipeline, "configMap"))),
        notes=pipeline.notes,
    )


def _features(pipeline: Pipeline, engine: str) -> Iterator[Finding]:
    for feature in features(pipeline):
        text = _EMULATED.get(feature.name)
        support = Support.RUNS if text is None else Support.EMULATED
        yield Finding(engine, support, feature.name.value, feature.place, text or "")


def _executors(pipeline: Pipeline, launcher: Launcher, engine: str) -> Iterator[Finding]:
    for component in pipeline.components.values():
        if component.dag is not None:
            continue
        place = f"deploymentSpec.executors.{component.body}"
        executor = pipeline.executor_of(component)
        platform: Mapping[str, Json] = pipeline.executor_platform(component)
        try:
            isolation = launcher.isolation(executor, platform)
        except TaskError as error:
            yield Finding(engine, Support.REFUSED, "executor", place, str(error))
            continue
        if isinstance(executor, ContainerExecutor):
            wanted = wanted_python(executor.image)
            exact = wanted is not None and f"-{'.'.join(map(str, wanted.version[:2]))}." in isolation
            support = Support.RUNS if exact else Support.EMULATED
            yield Finding(engine, support, "executor", place, _stand_in(executor.image, isolation))


def _stand_in(image: str, isolation: str) -> str:
    """What runs in the place of an image: `process:cpython-3.11.7` is a Python, `process:host` the
    machine.
    """
    python = isolation.rpartition("-")[2] if "-" in isolation else ""
    return f"image {image}: " + (
        f"Python {python} of this machine" if python else "a process of this machine"
    )
