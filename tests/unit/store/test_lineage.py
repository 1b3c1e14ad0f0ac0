from __future__ import annotations

from itertools import pairwise

import pytest

from penstock.errors import NotFoundError
from penstock.store import Direction, ExecutionState, RunRecord, Store
from tests.unit.store.examples import execute, model, new_run


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
