"""Runs of the pipeline of pods on a plant, each with its side effects, and what is to be said of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tests.documents import write
from tests.faults import checker, pod_pipeline
from tests.faults.plant import Plant, until
from tests.faults.scenarios import Reference, Verdict, differences

PATIENCE = 240.0
"""Seconds after which a run that has not ended is one that hangs."""
ORPHANS = 120.0
"""Seconds in which its pods are gone."""


@dataclass
class PodRuns:
    """`folder` holds the pipeline, and what the clients say."""

    plant: Plant
    folder: Path
    _numbered: int = 0

    @cached_property
    def reference(self) -> Reference:
        """One undisturbed run."""
        self.plant.mend()
        with self.course() as course:
            verdict = course.end()
            assert not verdict.problems, verdict.problems
            picture = checker.picture(self.plant.home, course.run_id)
            assert picture["state"] == "SUCCEEDED"
            attempts, _ = checker.count_attempts(self.plant.home, course.run_id)
            return Reference(picture, course.lines(), 0, attempts)

    @contextmanager
    def course(self, *options: str) -> Iterator[Course]:
        """A new run, as `penstock run` follows it."""
        self._numbered += 1
        name = f"run-{self._numbered}"
        plant = self.plant
        plant.side.place(name).touch()
        document = write(pod_pipeline.document(), self.folder / "pipeline.yaml")
        said = self.folder / f"{name}.err"
        given = ["-p", f"side={plant.side.url(name)}", "--parallel", "4"]
        words = [str(document), "--on", "celery", "--name", name, *given, "--json"]
        with said.open("wb") as errors, (self.folder / f"{name}.out").open("wb") as output:
            client = subprocess.Popen(
                [sys.executable, "-m", "penstock", "run", *words, *options],
                env={**os.environ, **plant.installation.variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )
        try:
            yield Course(self, plant, name, client, said)
        finally:
            client.kill()
            client.wait()


@dataclass
class Course:
    """One of them on its way."""

    runs: PodRuns
    plant: Plant
    name: str
    client: subprocess.Popen[bytes]
    said: Path
    _run_id: str = field(default="", init=False)

    @property
    def run_id(self) -> str:
        if not self._run_id:
            query = "SELECT id FROM runs WHERE name = ?"
            rows = until(lambda: self.plant.rows(query, self.name) or None, f"{self.name} never began")
            self._run_id = rows[0]["id"]
        return self._run_id

    @property
    def side(self) -> Path:
        return self.plant.side.place(self.name)

    def lines(self) -> int:
        return len(checker.side_effects(self.side))

    def in_flight(self) -> int:
        """Attempts that are recorded as begun, and not as ended."""
        query = "SELECT id FROM attempts WHERE run_id = ? AND state = 'RUNNING'"
        return len(self.plant.rows(query, self.run_id))

    def reach(self, lines: int) -> None:
        """Comes back when there are so many side effects, and two attempts in flight."""

        def there() -> bool | None:
            assert self.client.poll() is None, self.said.read_text()
            return (self.lines() >= lines and self.in_flight() >= 2) or None

        until(there, f"{self.name} never had {lines} side effects", PATIENCE)

    def judge(self, *, lost_allowed: bool) -> Verdict:
        """Of the run, when it has ended, against the undisturbed one."""
        verdict = self.end(lost_allowed=lost_allowed)
        expected = self.runs.reference
        home = self.plant.home
        problems = [
            *verdict.problems,
            *differences(expected.picture, checker.picture(home, self.run_id)),
        ]
        attempts, lost = checker.count_attempts(home, self.run_id)
        if (kept := attempts - lost) != expected.attempts:
            problems.append(f"{kept} attempts were not lost, undisturbed there are {expected.attempts}")
        return Verdict(problems, lost)

    def end(self, *, lost_allowed: bool = False) -> Verdict:
        """What is wrong with the run, once it has ended and its pods are gone."""
        code = self.client.wait(PATIENCE)
        problems = [] if code == 0 else [f"the client ended with {code}: {self.said.read_text()}"]
        try:
            until(lambda: None if self._pods() else True, "pods are left", ORPHANS)
        except AssertionError:
            problems.append(f"after {ORPHANS:.0f} s there are pods left: {', '.join(self._pods())}")
        problems += checker.judge(self.plant.home, self.side, self.run_id, lost_allowed=lost_allowed)
        problems += self.plant.sightings.several(self.run_id)
        return Verdict(problems, 0)

    def _pods(self) -> list[str]:
        return [pod.metadata.name for pod in self.plant.cluster.pods(f"penstock.dev/run={self.run_id}")]
