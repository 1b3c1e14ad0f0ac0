"""Runs on their way out: which may go, which stay, and what goes with them."""

from __future__ import annotations

import threading
import time

import pytest
import sqlalchemy as sa

from penstock.errors import InvalidInputError, LeaseError, NotFoundError
from penstock.model import Artifact, State
from penstock.store import AttemptState, ExecutionState, Rule, RunRecord, Store
from penstock.store.schema import metadata
from tests.unit.store.examples import end, execute, model, new_run, pipeline, task

OUTLIVE = (
    "namespaces",
    "experiments",
    "pipelines",
    "pipeline_versions",
    "alembic_version",
    "removals",
    "commits",
)


def remove(store: Store, *runs: RunRecord) -> dict[str, str]:
    """Remove the records of the runs; why some of them stay."""
    found = store.removals.mark([run.id for run in runs])
    while store.removals.purge(3) is not None:
        pass
    return dict(found.kept)


def made(run: RunRecord, name: str = "model") -> Artifact:
    """What a task of the run made."""
    return model(f"file:///root/{run.pipeline}/{run.id}/train/attempt/{name}", size=10, sha256="a")


def ended_run(
    store: Store, *, state: State = State.SUCCEEDED, ended_at: float | None = None, **fields: str
) -> RunRecord:
    run = new_run(store, pipeline_root="file:///root/", **fields)  # pyright: ignore[reportArgumentType]
    return end(store, run, state, ended_at=ended_at)


def served(store: Store, run: RunRecord, origin: str, *artifacts: Artifact) -> None:
    """The run takes the outputs of an execution from the cache."""
    outputs = {"model": artifacts}
    execute(store, run, "train", {}, outputs, state=ExecutionState.CACHED, cached_execution=origin)


def counts(store: Store) -> dict[str, int]:
    """Rows by table, of what runs bring with them."""
    with store._database.read() as connection:
        return {
            name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for name, table in metadata.tables.items()
            if name not in OUTLIVE
        }


class TestWhatGoes:
    def test_nothing_is_left_of_a_run_but_where_its_content_is(self, store: Store) -> None:
        run = new_run(store, pipeline_root="file:///root/")
        token = store.leases.claim(run.id, "me", 60)
        with store.transaction():
            several = [task(), *(task(f"loop[{index}]", State.PENDING) for index in range(7))]
            store.tasks.record(run.id, several, token=token)
            attempt = store.attempts.claim(run.id, "train", 0, 1, owner="me", token=token)
        store.attempts.finish(attempt.id, AttemptState.SUCCEEDED)
        raw = model("file:///data.csv", size=5)
        execute(store, run, "train", {"raw": (raw,)}, {"model": (made(run),)})
        for index in range(7):
            execute(store, run, f"loop[{index}]", {"raw": (raw,)})
        store.outbox.add("mlflow", "about it", {}, run.id)
        store.outbox.mark_delivered(store.outbox.claim_batch()[0].id)
        store.leases.release(run.id, token)
        end(store, run)

        (footprint,) = store.removals.footprints([run.id]).values()
        assert (footprint.tasks, footprint.artifacts, footprint.size) == (8, 1, 10)
        assert remove(store, run) == {}

        assert set(counts(store).values()) == {0}
        (removal,) = store.removals.contents()
        assert (removal.run_id, removal.size) == (run.id, 10)
        assert (removal.pipeline_root, removal.pipeline) == ("file:///root/", "iris")
        assert store.removals.contents(after=run.id) == []
        store.removals.finish([run.id])
        assert store.removals.waiting() == (0, "")

    def test_a_marked_run_is_found_by_nobody(self, store: Store) -> None:
        run = ended_run(store, name="gone")
        raw, model = made(run, "raw"), made(run)
        execute(store, run, "load", {}, {"raw": (raw,)})
        execute(store, run, "train", {"raw": (raw,)}, {"model": (model,)}, fingerprint="f")

        assert store.removals.mark([run.id]).removable == (run.id,)

        assert store.runs.list() == []
        for name in (run.id, run.id[-8:], "gone"):
            with pytest.raises(NotFoundError):
                store.runs.find(name)
        assert list(store.cache.find("f", "pipeline/iris")) == []
        assert store.lineage.upstream(model.id).executions == ()
        assert store.lineage.downstream(raw.id).executions == ()
        assert store.removals.choose(Rule()) == []
        for change in (
            lambda: store.runs.reopen(run.id),
            lambda: store.runs.request_cancel(run.id),
            lambda: store.tasks.record(run.id, [task()]),
            lambda: store.leases.claim(run.id, "me", 60),
            lambda: store.artifacts.pin(model.id, "somebody"),
        ):
            with pytest.raises((NotFoundError, LeaseError)):
                change()

    def test_an_artifact_goes_with_the_last_run_that_mentions_it(self, store: Store) -> None:
        first, second = ended_run(store), ended_run(store)
        shared, own = model("file:///shared"), made(first)
        execute(store, first, "load", {}, {"raw": (shared,), "own": (own,)})
        execute(store, second, "load", {}, {"raw": (shared,)})

        assert remove(store, first) == {}
        with pytest.raises(NotFoundError):
            store.artifacts.get(own.id)
        assert store.artifacts.get(shared.id).artifact == shared
        assert remove(store, second) == {}
        with pytest.raises(NotFoundError):
            store.artifacts.get(shared.id)

    def test_a_removal_cut_short_goes_on_where_it_was(self, store: Store) -> None:
        run = ended_run(store)
        for index in range(10):
            execute(store, run, f"loop[{index}]", {}, {"out": (made(run, str(index)),)})
        store.removals.mark([run.id])
        pages = 0
        while store.removals.contents() == []:
            assert store.removals.purge(3) is not None
            pages += 1
        assert pages == 4
        assert store.removals.purge(3) is None
        assert set(counts(store).values()) == {0}

    def test_an_error_stays_with_the_removal_until_it_is_over(self, store: Store) -> None:
        run = ended_run(store)
        remove(store, run)
        store.removals.fail(run.id, "the bucket is away")
        assert store.removals.waiting() == (1, "the bucket is away")
        assert store.removals.contents()[0].error == "the bucket is away"
        store.removals.finish([run.id])
        assert store.removals.contents() == []

    def test_deleting_one_run(self, store: Store) -> None:
        run = ended_run(store)
        store.runs.delete(run.id)
        with pytest.raises(NotFoundError, match="is not recorded"):
            store.runs.get(run.id)
        with pytest.raises(NotFoundError):
            store.runs.delete(run.id)
        running = new_run(store)
        with pytest.raises(InvalidInputError, match=f"run {running.id} cannot be removed: it is PENDING"):
            store.runs.delete(running.id)
        assert store.runs.get(running.id)


class TestWhatStays:
    def test_a_run_that_has_not_ended(self, store: Store) -> None:
        run = new_run(store)
        assert remove(store, run) == {run.id: "it is PENDING"}

    def test_a_run_that_an_engine_holds(self, store: Store) -> None:
        run = ended_run(store)
        store.leases.claim(run.id, "host/1", 60)
        assert remove(store, run) == {run.id: "host/1 drives it"}

    def test_but_not_one_whose_engine_died(self, store: Store) -> None:
        run = ended_run(store)
        store.leases.claim(run.id, "host/1", 0.05)
        time.sleep(0.1)
        assert remove(store, run) == {}

    def test_a_run_of_which_something_is_still_to_be_told(self, store: Store) -> None:
        run = ended_run(store)
        store.outbox.add("mlflow", "k", {}, run.id)
        assert remove(store, run) == {run.id: "its records have not all arrived at mlflow yet"}
        (message,) = store.outbox.claim_batch(lease_seconds=60)
        assert remove(store, run) != {}
        store.outbox.mark_delivered(message.id)
        assert remove(store, run) == {}

    def test_but_not_one_that_the_other_side_refused_for_good(self, store: Store) -> None:
        run = ended_run(store)
        store.outbox.offer("mlflow", "k", {}, run.id)
        held = store.outbox.take(store.outbox.waiting("mlflow")[0].message, {}, 30)
        assert held is not None and store.outbox.hand_back(held, "a bad name", refused=True)
        assert remove(store, run) == {}
        assert counts(store)["outbox"] == 0

    def test_a_run_that_made_a_pinned_artifact(self, store: Store) -> None:
        maker, user = ended_run(store), ended_run(store)
        kept = made(maker)
        origin = execute(store, maker, "train", {}, {"model": (kept,)})
        served(store, user, origin, kept)
        store.artifacts.pin(kept.id, "model iris, version 3")
        store.artifacts.pin(kept.id, "model iris, version 3")

        assert store.artifacts.pins(kept.id) == ["model iris, version 3"]
        assert remove(store, maker, user) == {maker.id: "model iris, version 3 refers to what it made"}
        assert store.artifacts.get(kept.id)
        assert store.artifacts.unpin(kept.id, "model iris, version 3")
        assert not store.artifacts.unpin(kept.id, "model iris, version 3")
        assert remove(store, maker) == {}

    def test_what_is_not_recorded_cannot_be_pinned(self, store: Store) -> None:
        with pytest.raises(NotFoundError, match="artifact nowhere is not recorded"):
            store.artifacts.pin("nowhere", "somebody")

    def test_a_run_that_the_cache_served_a_kept_one_from_and_what_served_that(self, store: Store) -> None:
        oldest, middle, newest = (ended_run(store) for _ in range(3))
        raw, model = made(oldest, "raw"), made(middle)
        load = execute(store, oldest, "load", {}, {"raw": (raw,)})
        served(store, middle, load, raw)
        train = execute(store, middle, "train", {"raw": (raw,)}, {"model": (model,)})
        served(store, newest, train, model)

        assert remove(store, oldest, middle) == {
            oldest.id: f"run {middle.id} has outputs of it from the cache",
            middle.id: f"run {newest.id} has outputs of it from the cache",
        }
        assert remove(store, middle, oldest, newest) == {}

    def test_runs_with_outputs_of_each_other_go_together_or_not_at_all(self, store: Store) -> None:
        one, other = ended_run(store), ended_run(store)
        ours, theirs = made(one), made(other)
        first = execute(store, one, "a", {}, {"out": (ours,)})
        second = execute(store, other, "b", {}, {"out": (theirs,)})
        served(store, one, second, theirs)
        served(store, other, first, ours)
        assert remove(store, one).keys() == {one.id}
        assert remove(store, one, other) == {}

    def test_a_run_that_a_marked_one_used_is_free(self, store: Store) -> None:
        origin, user = ended_run(store), ended_run(store)
        raw = made(origin)
        served(store, user, execute(store, origin, "load", {}, {"raw": (raw,)}), raw)
        store.removals.mark([user.id])
        assert store.removals.mark([origin.id]).kept == {}

    def test_a_run_that_is_not_there(self, store: Store) -> None:
        assert store.removals.mark(["nowhere"]).kept == {"nowhere": "it is in use, or gone"}

    def test_weighing_changes_nothing(self, store: Store) -> None:
        run, running = ended_run(store), new_run(store)
        verdicts = store.removals.weigh([run.id, running.id])
        assert (verdicts.removable, set(verdicts.kept)) == ((run.id,), {running.id})
        assert {one.id for one in store.runs.list()} == {run.id, running.id}


class TestContentElsewhere:
    def test_content_that_another_run_imported_is_told_of(self, store: Store) -> None:
        run, other = ended_run(store), ended_run(store)
        place = f"file:///root/iris/{run.id}"
        inside = model(f"{place}/train/attempt/model/weights")
        beside = model(f"{place}-2/x")
        execute(store, run, "train", {}, {"model": (made(run),)})
        execute(store, other, "import", {}, {"a": (inside,), "b": (beside,)})
        remove(store, run)
        assert store.removals.referred([place]) == [inside.uri]
        remove(store, other)
        assert store.removals.referred([place]) == []

    def test_what_a_run_did_not_make_counts_for_nothing(self, store: Store) -> None:
        run = ended_run(store)
        execute(store, run, "import", {}, {"data": (model("file:///elsewhere", size=1000),)})
        assert store.removals.footprints([run.id])[run.id].size == 0
        remove(store, run)
        assert store.removals.contents()[0].size == 0


class TestChoosing:
    def test_every_part_of_a_rule_counts(self, store: Store) -> None:
        old = ended_run(store, ended_at=100.0)
        failed = ended_run(store, state=State.FAILED, ended_at=200.0)
        tuning = ended_run(store, experiment="tuning", ended_at=300.0)
        other = end(store, new_run(store, of=pipeline("other")))
        new_run(store)

        def chosen(rule: Rule) -> list[str]:
            return store.removals.choose(rule)

        assert chosen(Rule()) == [other.id, tuning.id, failed.id, old.id]
        assert chosen(Rule(ended_before=250.0)) == [failed.id, old.id]
        assert chosen(Rule(state=State.FAILED)) == [failed.id]
        assert chosen(Rule(experiment="tuning")) == [tuning.id]
        assert chosen(Rule(pipeline="other")) == [other.id]
        assert chosen(Rule(experiment="tuning", pipeline="other")) == []
        assert chosen(Rule(namespace="theirs")) == []

    def test_the_last_are_kept_of_each_pipeline_in_each_experiment(self, store: Store) -> None:
        one = [ended_run(store, experiment="one").id for _ in range(3)]
        two = [ended_run(store, experiment="two").id for _ in range(3)]
        store.pipelines.save(pipeline(digest="d2"))
        newer = end(store, new_run(store, of=pipeline(digest="d2"), experiment="one"))
        assert store.removals.choose(Rule(keep_last=2)) == [two[0], *one[1::-1]]
        assert store.removals.choose(Rule(keep_last=0, experiment="one")) == [newer.id, *one[::-1]]
        assert store.removals.choose(Rule(keep_last=9)) == []

    def test_the_last_of_a_state_are_counted_among_their_own(self, store: Store) -> None:
        failed = [ended_run(store, state=State.FAILED).id for _ in range(2)]
        ended_run(store)
        assert store.removals.choose(Rule(keep_last=1, state=State.FAILED)) == [failed[0]]


class TestAtOnce:
    def test_a_hit_that_is_being_recorded_keeps_its_origin(self, store: Store) -> None:
        origin, user = ended_run(store), ended_run(store)
        raw = made(origin)
        execution = execute(store, origin, "load", {}, {"raw": (raw,)}, fingerprint="f")
        held, release = threading.Event(), threading.Event()
        kept: dict[str, str] = {}

        def hit() -> None:
            with store.transaction():
                assert store.cache.hold(execution)
                held.set()
                release.wait(5)
                served(store, user, execution, raw)

        def gc() -> None:
            kept.update(store.removals.mark([origin.id]).kept)

        one = threading.Thread(target=hit)
        one.start()
        held.wait(5)
        other = threading.Thread(target=gc)
        other.start()
        other.join(0.2)
        release.set()
        one.join()
        other.join()
        assert kept.keys() == {origin.id}
        assert store.removals.mark([origin.id]).kept.keys() == {origin.id}
        assert store.runs.get(origin.id)

    def test_a_hit_whose_run_is_being_removed_is_none(self, store: Store) -> None:
        origin = ended_run(store)
        execution = execute(store, origin, "load", {}, {"raw": (made(origin),)}, fingerprint="f")
        store.removals.mark([origin.id])
        assert not store.cache.hold(execution)

    def test_an_artifact_that_another_run_is_about_to_mention_is_not_lost(self, store: Store) -> None:
        first, second = ended_run(store), ended_run(store)
        shared = model("file:///shared")
        execute(store, first, "load", {}, {"raw": (shared,)})
        store.removals.mark([first.id])
        mentioned, release = threading.Event(), threading.Event()

        def mention() -> None:
            with store.transaction():
                execute(store, second, "load", {}, {"raw": (shared,)})
                mentioned.set()
                release.wait(5)

        def purge() -> None:
            while store.removals.purge() is not None:
                pass

        one = threading.Thread(target=mention)
        one.start()
        mentioned.wait(5)
        other = threading.Thread(target=purge)
        other.start()
        other.join(0.2)
        release.set()
        one.join()
        other.join()
        assert store.artifacts.get(shared.id).artifact == shared
        assert [one.artifact for one in store.artifacts.list(run_id=second.id)] == [shared]

    def test_two_that_remove_the_same_do_not_disturb_each_other(self, store: Store) -> None:
        runs = [ended_run(store) for _ in range(8)]
        for run in runs:
            for index in range(5):
                execute(store, run, f"step-{index}", {}, {"out": (made(run, str(index)),)})
        marked: list[str] = []
        failures: list[BaseException] = []

        def gc() -> None:
            try:
                for run in runs:
                    marked.extend(store.removals.mark([run.id]).removable)
                while store.removals.purge(7) is not None:
                    pass
            except BaseException as error:  # noqa: BLE001
                failures.append(error)

        threads = [threading.Thread(target=gc) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert sorted(marked) == sorted(run.id for run in runs)
        assert set(counts(store).values()) == {0}
        assert len(store.removals.contents()) == len(runs)
