"""Machines to disturb, and what a pipeline gives when nobody disturbs it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.faults import checker, pipelines, workload
from tests.faults.machine import Machine

LARGE, SMALL = "faults-large", "faults-small"
DOCUMENTS = {LARGE: pipelines.large, SMALL: pipelines.small}


TURNS = 5

T = TypeVar("T")


class MissedError(Exception):
    """The run came to its end before the moment to disturb it was seen, as happens on a busy machine."""


def at_its_moment(folder: Path, disturb: Callable[[Path], T]) -> T:
    """Disturbs a run in a new folder below that one; another run where the moment was missed."""
    for turn in range(TURNS):
        (place := folder / str(turn)).mkdir()
        try:
            return disturb(place)
        except MissedError:
            continue
    raise MissedError(f"the moment was missed {TURNS} times")


@dataclass(frozen=True)
class Reference:
    """One undisturbed run: side effects, changes of tasks, attempts."""

    picture: dict[str, Any]
    lines: int
    changes: int
    attempts: int


@dataclass(frozen=True)
class Verdict:
    """What the checker has to say of a run, and how it differs from the undisturbed one."""

    problems: list[str]
    lost: int


class Scenarios:
    """Templates and references are made once, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._templates: dict[str, Path] = {}
        self._references: dict[tuple[str, bool], Reference] = {}

    def machine(self, folder: Path, pipeline: str) -> Machine:
        """A machine on which an earlier run has filled the cache."""
        ignored = shutil.ignore_patterns("artifacts", "attempts", "engines")
        shutil.copytree(self._template(pipeline), folder / "home", ignore=ignored)
        workload.write(DOCUMENTS[pipeline](), folder / "pipeline.yaml")
        return Machine(folder, pipeline)

    def reference(self, pipeline: str, *, doomed: bool) -> Reference:
        found = self._references.get((pipeline, doomed))
        if found is None:
            folder = self._folder / f"{pipeline}-{doomed}"
            folder.mkdir()
            found = self._references[pipeline, doomed] = self._undisturbed(folder, pipeline, doomed)
        return found

    def verdict(self, machine: Machine, *, doomed: bool, lost_allowed: bool) -> Verdict:
        """Of the machine's one run, which has ended."""
        run_id = machine.run_id()
        problems = checker.judge(machine.home, machine.side, run_id, lost_allowed=lost_allowed)
        expected = self.reference(machine.pipeline, doomed=doomed)
        problems += differences(expected.picture, checker.picture(machine.home, run_id))
        attempts, lost = checker.count_attempts(machine.home, run_id)
        if (kept := attempts - lost) != expected.attempts:
            problems.append(f"{kept} attempts were not lost, undisturbed there are {expected.attempts}")
        problems += [f"process {pid} is left" for pid in machine.tasks()]
        return Verdict(problems, lost)

    def _template(self, pipeline: str) -> Path:
        found = self._templates.get(pipeline)
        if found is None:
            folder = self._folder / pipeline
            folder.mkdir()
            with Machine(folder, pipeline) as machine:
                document = workload.write(pipelines.primer(pipeline), folder / "primer.yaml")
                primer = machine.run(document)
                assert primer.wait() == 0, primer.said
            found = self._templates[pipeline] = folder / "home"
        return found

    def _undisturbed(self, folder: Path, pipeline: str, doomed: bool) -> Reference:
        with self.machine(folder, pipeline) as machine:
            engine = machine.run(folder / "pipeline.yaml", *arguments(doomed))
            # KFP has no run that succeeds although a task failed.
            assert engine.wait() == (1 if doomed else 0), engine.said
            run_id = machine.run_id()
            problems = checker.judge(machine.home, machine.side, run_id, lost_allowed=False)
            assert not problems, problems
            found = checker.picture(machine.home, run_id)
            assert found["state"] == ("FAILED" if doomed else "SUCCEEDED")
            attempts, _ = checker.count_attempts(machine.home, run_id)
            return Reference(found, machine.lines(), machine.changes(), attempts)


def arguments(doomed: bool) -> tuple[str, ...]:
    return ("-p", f"doomed={str(doomed).lower()}", "--parallel", "4")


def differences(expected: dict[str, Any], found: dict[str, Any], where: str = "") -> list[str]:
    problems: list[str] = []
    for name in expected.keys() | found.keys():
        place = f"{where}{name}"
        one, other = expected.get(name), found.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            problems += differences(one, other, f"{place}: ")  # pyright: ignore[reportUnknownArgumentType]
        elif one != other:
            problems.append(f"{place} is {other!r}, undisturbed it is {one!r}")
    return problems
