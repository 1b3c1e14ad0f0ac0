"""What pipelines are run on: this machine, or workers and pods."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from penstock.artifacts import open_store
from penstock.execution.options import RunOptions
from penstock.execution.settings import Settings, load_settings
from tests.conformance.case import TEMPORARY, Case
from tests.installation import Installation

if TYPE_CHECKING:
    from tests.cluster import Cluster


class Ground(Protocol):
    """What pipelines run on. `temporary` is what $TMP stands for in arguments."""

    @property
    def settings(self) -> Settings: ...

    @property
    def temporary(self) -> str: ...

    def fitted(self, case: Case) -> Case:
        """The case as it holds here. Skips the test when the pipeline cannot run here."""
        ...

    def provide(self, case: Case) -> None:
        """Make what the case says must be there."""
        ...

    def options(self, number: int, case: Case) -> RunOptions:
        """Of the run of that number, from 0."""
        ...


@dataclass(frozen=True, slots=True)
class ThisMachine:
    """The embedded engine and processes; `more` are settings."""

    home: Path
    folder: Path
    more: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def settings(self) -> Settings:
        return load_settings({"home": str(self.home), **self.more})

    @property
    def temporary(self) -> str:
        return str(self.folder)

    def fitted(self, case: Case) -> Case:
        missing = [program for program in case.needs if shutil.which(program) is None]
        if missing:
            pytest.skip(f"this machine has no {', '.join(missing)}")
        return case

    def provide(self, case: Case) -> None:
        for kind, known in (("secrets", case.secrets), ("configmaps", case.config_maps)):
            for name, keys in known.items():
                for key, value in keys.items():
                    file = self.home / kind / name / key
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(value, "utf-8")
        for path, content in case.given.items():
            Path(path.replace(TEMPORARY, self.temporary)).write_text(content, "utf-8")

    def options(self, number: int, case: Case) -> RunOptions:
        return RunOptions(parallel=2)


@dataclass(frozen=True, slots=True)
class Pods:
    """The shared installation. `folder` is for the test's own files, which pods find below `temporary`."""

    installation: Installation
    folder: Path
    cluster: Cluster
    temporary: str

    @property
    def settings(self) -> Settings:
        return self.installation.settings

    def fitted(self, case: Case) -> Case:
        """Images have what a case needs; a file that a pod writes is gone with it."""
        case = replace(case, needs=[], files={})
        if case.on_pods is None:
            return case
        otherwise = case.on_pods
        return replace(
            case,
            state=otherwise.state,
            outputs=otherwise.outputs,
            tasks=case.tasks | otherwise.tasks,
            logs=case.logs | otherwise.logs,
            artifacts={
                path: one
                for path, one in case.artifacts.items()
                if otherwise.tasks.get(path, {}).get("state") != "FAILED"
            },
        )

    def provide(self, case: Case) -> None:
        for name, values in case.secrets.items():
            self.cluster.give_secret(name, values)
        for name, values in case.config_maps.items():
            self.cluster.give_config_map(name, values)
        self.cluster.settle()
        for name in case.claims:
            self.cluster.give_claim(name)
        if case.given:
            store = open_store(self.temporary, self.installation.variables)
            for path, content in case.given.items():
                source = self.folder / "given"
                source.write_text(content, "utf-8")
                store.put(source, path.replace(TEMPORARY, self.temporary))

    def options(self, number: int, case: Case) -> RunOptions:
        """The database is that of all pipelines, which must not find each other's results."""
        return RunOptions(engine="celery", cache=number > 0)
