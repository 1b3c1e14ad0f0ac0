"""What would become of a pipeline on this machine, before it is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from penstock.errors import TaskError
from penstock.execution.environments.images import wanted_python
from penstock.execution.launcher import Launcher
from penstock.execution.platform import names_of
from penstock.execution.process.launcher import ProcessLauncher
from penstock.execution.secrets.need import SecretNeed, TaskNeed, pipeline_needs
from penstock.execution.secrets.resolver import Secrets
from penstock.ir import features
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
class SecretSource:
    """`secret` is `name/key`, or a name where all of it is needed. `state` says whether it is there."""

    secret: str
    reference: str
    state: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`images`, `secrets` and `config_maps` are what the pipeline needs from outside, `sources` where secrets
    come from, where this launcher reads them; `notes` what has no effect.
    """

    findings: tuple[Finding, ...]
    images: tuple[str, ...]
    secrets: tuple[str, ...]
    config_maps: tuple[str, ...]
    notes: tuple[str, ...]
    sources: tuple[SecretSource, ...] = ()

    @property
    def support(self) -> Support:
        """Refused as soon as anything is, emulated as soon as anything is."""
        found = {finding.support for finding in self.findings}
        return next((one for one in (Support.REFUSED, Support.EMULATED) if one in found), Support.RUNS)


def diagnose(pipeline: Pipeline, launcher: Launcher, engine: str = "embedded") -> Diagnosis:
    """What the embedded engine with this launcher makes of each feature. Builds and runs nothing."""
    found = launcher.secrets if isinstance(launcher, ProcessLauncher) else None
    defaults = {
        name: one.default for name, one in pipeline.root.interface.input_parameters.items() if one.has_default
    }
    needs = list(pipeline_needs(pipeline, defaults)) if found is not None else []
    return Diagnosis(
        findings=(
            *_features(pipeline, launcher, engine),
            *_executors(pipeline, launcher, engine),
            *_secrets(needs, found, engine),
        ),
        images=tuple(
            sorted({one.image for one in pipeline.executors.values() if isinstance(one, ContainerExecutor)})
        ),
        secrets=tuple(sorted(names_of(pipeline, "secret"))),
        config_maps=tuple(sorted(names_of(pipeline, "configMap"))),
        notes=pipeline.notes,
        sources=tuple(dict.fromkeys(_source(one.need, found) for one in needs)) if found is not None else (),
    )


def _secrets(needs: Sequence[TaskNeed], secrets: Secrets | None, engine: str) -> Iterator[Finding]:
    """Those that keep the run from being started."""
    for one in needs:
        if secrets is None or not one.certain or one.need.optional:
            continue
        problem = secrets.problem(one.need)
        if problem is not None:
            place = f"platforms.kubernetes.deploymentSpec.executors.{one.executor}"
            yield Finding(engine, Support.REFUSED, "secret", place, str(problem))


def _source(need: SecretNeed, secrets: Secrets) -> SecretSource:
    if need.name.startswith("<"):
        return SecretSource(str(need), "", "its name is known when the task comes up")
    missing = "not there, and optional" if need.optional else "not there"
    state = "there" if secrets.problem(need) is None else missing
    return SecretSource(str(need), secrets.described(need), state)


def _features(pipeline: Pipeline, launcher: Launcher, engine: str) -> Iterator[Finding]:
    for feature in features(pipeline):
        text = launcher.emulated.get(feature.name)
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
            account = launcher.account(component, executor, platform)
        except TaskError as error:
            yield Finding(engine, Support.REFUSED, "executor", place, str(error))
            continue
        if account is not None:
            yield Finding(
                engine, Support.RUNS if account.exact else Support.EMULATED, "executor", place, account.text
            )
        elif isinstance(executor, ContainerExecutor):
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
