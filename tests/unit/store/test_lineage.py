from __future__ import annotations

from itertools import pairwise

import pytest

from penstock.errors import NotFoundError
from penstock.store import Direction, ExecutionState, RunRecord, Store
from tests.unit.store.examples import end, execute, model, new_run, pipeline


def test_lineage_of_a_diamond_names_each_thing_once_and_the_nearest_first(
    store: Store, run: RunRecord
) -> None:
    raw, left, right, joined, other = (model(f"file:///{name}") for name in "rljdo")
    load = execute(store, run, "load", outputs={"raw": (raw,)})
    one = execute(store, run, "left", {"in": (raw,)}, {"out": (left,)})
    two = execute(store, run, "right", {"in": (raw,)}, {"out": (right,)})
    join = execute(store, run, "join", {"many": (left, right)}, {"out": (joined,)})
    execute(store, run, "unrelated", outputs={"out": (other,)})

    up = store.lineage.upstream(joined.id)
    assert [found.id for found in up.executions] == [join, two, one, load]
    assert {found.artifact.id for found in up.artifacts} == {raw.id, left.id, right.id, joined.id}
    assert up.artifacts[0].artifact == joined
    many = [edge for edge in up.edges if edge.execution_id == join and edge.direction is Direction.INPUT]
    assert [(edge.name, edge.position, edge.artifact_id) for edge in many] == [
        ("many", 0, left.id),
        ("many", 1, right.id),
    ]

    down = store.lineage.downstream(raw.id)
    assert [found.id for found in down.executions] == [two, one, join]
    assert {found.artifact.id for found in down.artifacts} == {raw.id, left.id, right.id, joined.id}
    assert {(found.run_id, found.path) for found in down.executions} == {
        (run.id, "left"),
        (run.id, "right"),
        (run.id, "join"),
    }


def test_lineage_goes_no_further_than_it_is_asked_to(store: Store, run: RunRecord) -> None:
    chain = [model(f"file:///{index}") for index in range(10)]
    for index, (before, after) in enumerate(pairwise(chain)):
        execute(store, run, f"step-{index}", {"in": (before,)}, {"out": (after,)})
    assert [found.path for found in store.lineage.upstream(chain[-1].id, depth=3).executions] == [
        "step-8",
        "step-7",
        "step-6",
    ]
    assert len(store.lineage.downstream(chain[0].id).executions) == 9


def test_upstream_leads_past_the_cache_to_what_made_the_artifact(store: Store, run: RunRecord) -> None:
    raw, made = model("file:///r"), model("file:///m")
    first = execute(store, run, "train", {"in": (raw,)}, {"out": (made,)})
    later = new_run(store)
    second = execute(
        store,
        later,
        "train",
        {"in": (raw,)},
        {"out": (made,)},
        state=ExecutionState.CACHED,
        cached_execution=first,
    )
    assert [found.id for found in store.lineage.upstream(made.id).executions] == [first]
    assert [found.id for found in store.lineage.downstream(raw.id).executions] == [second, first]


def test_lineage_that_comes_back_to_itself_ends(store: Store, run: RunRecord) -> None:
    one, two = model("file:///1"), model("file:///2")
    execute(store, run, "there", {"in": (one,)}, {"out": (two,)})
    execute(store, run, "back", {"in": (two,)}, {"out": (one,)})
    assert {found.path for found in store.lineage.upstream(one.id, depth=20).executions} == {"there", "back"}


def test_an_artifact_without_lineage_stands_alone(store: Store) -> None:
    alone = model()
    store.artifacts.register([alone])
    found = store.lineage.upstream(alone.id)
    assert ([one.artifact for one in found.artifacts], found.executions, found.edges) == ([alone], (), ())
    with pytest.raises(NotFoundError, match="artifact nowhere is not recorded"):
        store.lineage.downstream("nowhere")


class TestPages:
    def test_pages_together_are_the_whole(self, store: Store, run: RunRecord) -> None:
        raw = model("file:///raw")
        execute(store, run, "load", outputs={"raw": (raw,)})
        for index in range(7):
            made = model(f"file:///{index}")
            execute(store, run, f"train-{index}", {"raw": (raw,)}, {"model": (made,)})
            execute(store, run, f"test-{index}", {"model": (made,)})
        whole = store.lineage.downstream(raw.id)
        found: list[str] = []
        following: int | None = 0
        while following is not None:
            page = store.lineage.downstream(raw.id, limit=4, offset=following)
            assert len(page.executions) <= 4
            assert page.artifacts[0].artifact == raw
            found += [one.path for one in page.executions]
            following = page.following
        assert found == [one.path for one in whole.executions]
        assert [whole.distances[one.id] for one in whole.executions] == [1] * 7 + [2] * 7
        assert found[0] == "train-6"
        assert whole.following is None

    def test_a_page_that_ends_with_the_last_has_nothing_following(self, store: Store, run: RunRecord) -> None:
        raw = model("file:///raw")
        for index in range(3):
            execute(store, run, f"read-{index}", {"raw": (raw,)})
        assert store.lineage.downstream(raw.id, limit=3).following is None
        assert store.lineage.downstream(raw.id, limit=2).following == 2


class TestRuns:
    def test_the_runs_of_all_executions_come_with_them(self, store: Store, run: RunRecord) -> None:
        other = new_run(store, name="another")
        raw = model("file:///raw")
        execute(store, run, "load", outputs={"raw": (raw,)})
        execute(store, other, "read", {"raw": (raw,)})
        assert store.lineage.downstream(raw.id).runs == {other.id: store.runs.get(other.id)}
        assert store.lineage.upstream(raw.id).runs == {run.id: store.runs.get(run.id)}


class TestOnePlace:
    def test_what_several_runs_import_is_one_artifact(self, store: Store, run: RunRecord) -> None:
        one, same, unread = (model("s3://lake/data", sha256=digest) for digest in ("a", "a", None))
        changed = model("s3://lake/data", sha256="b")
        for index, data in enumerate((one, same, unread, changed)):
            execute(store, run, f"import-{index}", outputs={"data": (data,)})
            execute(store, run, f"read-{index}", {"data": (data,)})

        down = store.lineage.downstream(one.id)

        assert {found.path for found in down.executions} == {"read-0", "read-1", "read-2"}
        assert [found.artifact.id for found in down.artifacts] == [one.id]
        assert {edge.artifact_id for edge in down.edges} == {one.id}
        assert down.same == {same.id: one.id, unread.id: one.id}
        assert {found.path for found in store.lineage.upstream(same.id).executions} == {
            "import-0",
            "import-1",
        }
        assert {found.path for found in store.lineage.downstream(changed.id).executions} == {
            "read-2",
            "read-3",
        }

    def test_what_a_run_made_and_another_imports_leads_from_one_to_the_other(
        self, store: Store, run: RunRecord
    ) -> None:
        raw, made, imported, copy = (
            model(uri, sha256=uri) for uri in ("file:///raw", "file:///made", "file:///made", "file:///copy")
        )
        execute(store, run, "train", {"raw": (raw,)}, {"model": (made,)})
        execute(store, run, "import", {}, {"model": (imported,)})
        execute(store, run, "deploy", {"model": (imported,)}, {"copy": (copy,)})
        assert {one.path for one in store.lineage.upstream(copy.id).executions} == {
            "deploy",
            "import",
            "train",
        }
        assert [one.path for one in store.lineage.downstream(raw.id).executions] == ["train", "deploy"]
        assert [one.path for one in store.lineage.upstream(made.id).executions] == ["train"]

    def test_places_of_another_namespace_are_others(self, store: Store, run: RunRecord) -> None:
        theirs = new_run(store, namespace="theirs")
        ours, other = model("s3://lake/data"), model("s3://lake/data")
        execute(store, run, "read", {"data": (ours,)})
        execute(store, theirs, "read", {"data": (other,)})
        assert {one.run_id for one in store.lineage.downstream(ours.id).executions} == {run.id}

    def test_artifacts_without_a_place_have_none_in_common(self, store: Store, run: RunRecord) -> None:
        one, other = model(""), model("")
        execute(store, run, "one", {"data": (one,)})
        execute(store, run, "other", {"data": (other,)})
        assert [found.path for found in store.lineage.downstream(one.id).executions] == ["one"]


def test_where_the_maker_was_removed_the_first_that_used_it_stands_for_it(store: Store) -> None:
    shared = model("file:///shared")
    first, second, third = (new_run(store) for _ in range(3))
    for run in (first, second, third):
        execute(store, run, f"import-{run.id}", outputs={"data": (shared,)})
    assert [one.run_id for one in store.lineage.upstream(shared.id).executions] == [first.id]
    store.runs.delete(end(store, first).id)
    assert [one.run_id for one in store.lineage.upstream(shared.id).executions] == [second.id]
    store.removals.mark([end(store, second).id])
    assert [one.run_id for one in store.lineage.upstream(shared.id).executions] == [third.id]


class TestStale:
    def test_the_newest_of_a_task_is_stale_and_what_it_replaced_is_not(self, store: Store) -> None:
        raw = model("file:///raw")
        runs = [new_run(store) for _ in range(3)]
        made = [model(f"file:///{index}") for index in range(3)]
        for run, one in zip(runs, made, strict=True):
            execute(store, run, "train", {"raw": (raw,)}, {"model": (one,)})
        execute(store, runs[1], "deploy", {"model": (made[1],)})

        stale = store.lineage.stale(raw.id)

        assert [(one.run_id, one.path) for one in stale.executions] == [
            (runs[2].id, "train"),
            (runs[1].id, "deploy"),
        ]
        assert {one.artifact.id for one in stale.artifacts} == {raw.id, made[2].id, made[1].id}
        assert stale.runs.keys() == {runs[2].id, runs[1].id}

    def test_what_a_later_run_made_of_something_else_is_not(self, store: Store) -> None:
        raw, other = model("file:///raw"), model("file:///other")
        execute(store, new_run(store), "train", {"raw": (raw,)})
        execute(store, new_run(store), "train", {"raw": (other,)})
        assert store.lineage.stale(raw.id).executions == ()
        assert len(store.lineage.stale(other.id).executions) == 1

    def test_a_later_run_of_another_pipeline_or_one_that_failed_replaces_nothing(self, store: Store) -> None:
        raw, other = model("file:///raw"), model("file:///other")
        run = new_run(store)
        execute(store, run, "train", {"raw": (raw,)})
        execute(store, new_run(store, of=pipeline("else")), "train", {"raw": (other,)})
        execute(store, new_run(store), "train", {"raw": (other,)}, state=ExecutionState.FAILED)
        execute(store, new_run(store), "train", {"raw": (raw,)}, state=ExecutionState.FAILED)
        assert [one.run_id for one in store.lineage.stale(raw.id).executions] == [run.id]

    def test_another_version_of_the_pipeline_replaces(self, store: Store) -> None:
        raw = model("file:///raw")
        execute(store, new_run(store), "train", {"raw": (raw,)})
        newer = new_run(store, of=pipeline(digest="d2"))
        execute(store, newer, "train", {"raw": (raw,)})
        assert [one.run_id for one in store.lineage.stale(raw.id).executions] == [newer.id]

    def test_what_came_from_the_cache_counts(self, store: Store) -> None:
        raw, made = model("file:///raw"), model("file:///made")
        first, second = new_run(store), new_run(store)
        origin = execute(store, first, "train", {"raw": (raw,)}, {"model": (made,)})
        cached = {"state": ExecutionState.CACHED, "cached_execution": origin}
        execute(store, second, "train", {"raw": (raw,)}, {"model": (made,)}, **cached)  # pyright: ignore[reportArgumentType]
        (stale,) = store.lineage.stale(raw.id).executions
        assert (stale.run_id, stale.state) == (second.id, ExecutionState.CACHED)

    def test_iterations_of_a_loop_are_of_one_kind(self, store: Store) -> None:
        raw, other = model("file:///raw"), model("file:///other")
        older, newer = new_run(store), new_run(store)
        for index in range(3):
            execute(store, older, f"loop[{index}]/train", {"raw": (raw,)})
        assert len(store.lineage.stale(raw.id).executions) == 3
        execute(store, newer, "loop[0]/train", {"raw": (other,)})
        assert store.lineage.stale(raw.id).executions == ()

    def test_a_later_generation_of_the_run_replaces(self, store: Store, run: RunRecord) -> None:
        raw = model("file:///raw")
        execute(store, run, "train", {"raw": (raw,)})
        again = execute(store, run, "train", {"raw": (raw,)})
        assert [one.id for one in store.lineage.stale(raw.id).executions] == [again]

    def test_what_is_not_recorded_is_an_error(self, store: Store) -> None:
        with pytest.raises(NotFoundError, match="artifact nowhere is not recorded"):
            store.lineage.stale("nowhere")
