"""Random records of runs that made, imported and reused artifacts, and what a rule may remove of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

from penstock.model import Artifact, State
from penstock.store import ExecutionState, Rule, RunRecord, Store, new_id
from tests.unit.store.examples import end, execute, model, new_run

BASE = 1_000.0


@dataclass(frozen=True)
class PlannedRun:
    """`age` is the order of ends, 0 the oldest; a run that is not `ended` has none."""

    experiment: str
    age: int
    ended: bool
    held: bool
    message: bool


@dataclass(frozen=True)
class Step:
    """An execution of run `run`: it makes an artifact, imports the shared one, or is served what the step
    `origin` made.
    """

    run: int
    kind: str
    origin: int
    pinned: bool


@dataclass(frozen=True)
class World:
    runs: tuple[PlannedRun, ...]
    steps: tuple[Step, ...]
    ended_before: int | None
    keep_last: int | None

    def rule(self, namespace: str) -> Rule:
        before = None if self.ended_before is None else BASE + self.ended_before
        return Rule(ended_before=before, keep_last=self.keep_last, namespace=namespace)

    def chosen(self) -> set[int]:
        """By the words of the rule, not as the store does it."""
        found: set[int] = set()
        for experiment in {run.experiment for run in self.runs}:
            ended = [n for n, run in enumerate(self.runs) if run.experiment == experiment and run.ended]
            found |= set(ended[: len(ended) - (self.keep_last or 0)] if self.keep_last else ended)
        if self.ended_before is not None:
            found = {one for one in found if self.runs[one].age < self.ended_before}
        return found

    def served_from(self, step: Step) -> int | None:
        """The run of the step that this one was served from."""
        return self.steps[step.origin].run if step.kind == "cached" else None

    def removable(self) -> set[int]:
        """The largest part of the chosen to which nothing that stays refers."""
        blocked = {step.run for step in self.steps if step.kind == "make" and step.pinned} | {
            n for n, run in enumerate(self.runs) if run.held or run.message
        }
        found = self.chosen() - blocked
        while True:
            needed = {
                origin
                for step in self.steps
                if step.run not in found and (origin := self.served_from(step)) is not None
            }
            if not needed & found:
                return found
            found -= needed


@st.composite
def worlds(draw: st.DrawFn) -> World:
    count = draw(st.integers(1, 6))
    runs = tuple(
        PlannedRun(
            draw(st.sampled_from("ab")),
            draw(st.integers(0, 5)),
            draw(st.integers(0, 5)) > 0,
            draw(st.integers(0, 8)) == 0,
            draw(st.integers(0, 8)) == 0,
        )
        for _ in range(count)
    )
    steps: list[Step] = []
    for _ in range(draw(st.integers(0, 14))):
        run = draw(st.integers(0, count - 1))
        made = [n for n, step in enumerate(steps) if step.kind == "make" and step.run != run]
        kinds = ["make", "make", "import", "cached", "cached", "cached"]
        kind: str = draw(st.sampled_from(kinds if made else kinds[:3]))
        origin = draw(st.sampled_from(made)) if kind == "cached" else -1
        steps.append(Step(run, kind, origin, draw(st.integers(0, 9)) == 0))
    before = draw(st.none() | st.integers(0, 6))
    return World(runs, tuple(steps), before, draw(st.none() | st.integers(0, 2)))


@dataclass
class Recorded:
    """The world in a store, in a namespace of its own."""

    world: World
    namespace: str
    runs: list[RunRecord] = field(default_factory=list[RunRecord])
    executions: list[str] = field(default_factory=list[str])
    artifacts: list[Artifact] = field(default_factory=list[Artifact])

    def ids(self, numbers: set[int]) -> set[str]:
        return {self.runs[one].id for one in numbers}


def record(store: Store, world: World, root: str = "file:///root") -> Recorded:
    found = Recorded(world, new_id())
    for planned in world.runs:
        run = new_run(store, namespace=found.namespace, experiment=planned.experiment, pipeline_root=root)
        found.runs.append(run)
        if planned.message:
            store.outbox.add("mlflow", new_id(), {}, run.id)
    shared = model(f"file:///shared/{found.namespace}")
    for step in world.steps:
        run = found.runs[step.run]
        place = f"{root}/{run.pipeline}/{run.id}/task/{new_id()}/model"
        artifact = {
            "make": lambda place=place: model(place, size=1, sha256="a"),
            "import": lambda: shared,
            "cached": lambda step=step: found.artifacts[step.origin],
        }[step.kind]()
        cached = step.kind == "cached"
        found.executions.append(
            execute(
                store,
                run,
                "task",
                {},
                {"model": (artifact,)},
                state=ExecutionState.CACHED if cached else ExecutionState.COMPLETE,
                fingerprint="" if cached else new_id(),
                cached_execution=found.executions[step.origin] if cached else None,
            )
        )
        found.artifacts.append(artifact)
        if step.pinned and step.kind == "make":
            store.artifacts.pin(artifact.id, "somebody")
    for planned, run in zip(world.runs, found.runs, strict=True):
        if planned.ended:
            end(store, run, State.SUCCEEDED, ended_at=BASE + planned.age)
        if planned.held:
            store.leases.claim(run.id, "host/1", 600)
    return found


def listed(store: Store, recorded: Recorded) -> set[str]:
    return {run.id for run in store.runs.list(recorded.namespace, limit=1000)}


def check_nothing_dangles(store: Store, recorded: Recorded) -> None:
    """Whatever is listed refers to nothing that is gone."""
    left = listed(store, recorded)
    for number, step in enumerate(recorded.world.steps):
        artifact = recorded.artifacts[number]
        if recorded.runs[step.run].id not in left:
            continue
        assert store.executions.get(recorded.executions[number])
        assert store.artifacts.get(artifact.id).artifact == artifact
        if step.kind == "cached":
            assert recorded.runs[recorded.world.steps[step.origin].run].id in left
            assert store.executions.get(recorded.executions[step.origin])
            made = store.lineage.upstream(artifact.id)
            assert recorded.executions[step.origin] in {one.id for one in made.executions}


def check_all_is_gone_that_may_go(store: Store, recorded: Recorded) -> None:
    gone = recorded.ids(recorded.world.removable())
    assert listed(store, recorded) == {run.id for run in recorded.runs} - gone
    mentioned = {
        recorded.artifacts[number].id
        for number, step in enumerate(recorded.world.steps)
        if recorded.runs[step.run].id not in gone
    }
    assert {one.artifact.id for one in store.artifacts.list(recorded.namespace, limit=1000)} == mentioned
    for number, step in enumerate(recorded.world.steps):
        if recorded.runs[step.run].id in gone:
            assert not store.cache.hold(recorded.executions[number])
