"""What a change costs must not depend on the size of the run, nor a search on that of the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from penstock.model import ArtifactType, State, Values
from penstock.store import AttemptState, ExecutionState, RunRecord, Store
from tests.unit.store.examples import execute, model, new_run, task


def statements(store: Store, act: Callable[[], object]) -> list[tuple[str, object]]:
    """What `act` sends to the database."""
    engine = store._database.engine  # pyright: ignore[reportPrivateUsage]
    sent: list[tuple[str, object]] = []

    def note(connection: object, cursor: object, statement: str, parameters: object, *rest: object) -> None:
        sent.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        act()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return sent


def scans(store: Store, act: Callable[[], object]) -> list[str]:
    """The steps of the database's plans for what `act` sends that go through a whole table."""
    sent = statements(store, act)
    with store._database.write() as connection:  # pyright: ignore[reportPrivateUsage]
        steps = _sqlite_steps if connection.dialect.name == "sqlite" else _postgresql_steps
        return [
            f"{step} of {statement}"
            for statement, parameters in sent
            if not statement.startswith("BEGIN")
            for step in steps(
                connection, statement, parameters[0] if isinstance(parameters, list) else parameters
            )
        ]


def _sqlite_steps(connection: sa.Connection, statement: str, given: Any) -> list[str]:
    plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given)
    return [
        step[-1]
        for step in plan
        if step[-1].startswith("SCAN")
        and not step[-1].startswith(("SCAN walk", "SCAN CONSTANT", "SCAN SETUP"))
    ]


def _postgresql_steps(connection: sa.Connection, statement: str, given: Any) -> list[str]:
    """A table is small here, so the plan is asked for that does without scans if there is an index. The index
    of live attempts may be gone through: there are few.
    """
    connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
    ((plan,),) = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", given)
    found: list[str] = []
    todo = [plan[0]["Plan"]]
    while todo:
        step = todo.pop()
        todo += step.get("Plans", ())
        kind = step["Node Type"]
        by_index = kind in ("Index Scan", "Index Only Scan", "Bitmap Index Scan")
        through = by_index and "Index Cond" not in step and step["Index Name"] != "uq_attempts_live"
        if kind == "Seq Scan" or through:
            found.append(f"{kind} on {step.get('Relation Name', step.get('Index Name'))}")
    return found


def test_no_change_scans_a_table(store: Store, run: RunRecord) -> None:
    token = store.leases.claim(run.id, "me", 60)
    made, data = model(), model()
    execute(store, run, "load", outputs={"data": (data,)}, fingerprint="f")

    def go() -> None:
        store.runs.transition(run.id, [State.PENDING], State.RUNNING, token=token)
        store.leases.renew(run.id, token, 60)
        store.runs.cancel_requested(run.id)
        list(store.cache.find("f", "pipeline/iris"))
        with store.transaction():
            store.tasks.record(run.id, [task()], token=token)
            attempt = store.attempts.claim(run.id, "train", 0, 1, owner="me", token=token)
        assert store.attempts.claim(run.id, "train", 0, 1, owner="me").adopted
        with store.transaction():
            store.attempts.finish(attempt.id, AttemptState.SUCCEEDED)
            store.executions.record(
                run.id,
                "train",
                0,
                ExecutionState.COMPLETE,
                inputs=Values(artifacts={"in": (data,)}),
                outputs=Values(artifacts={"out": (made,)}),
                fingerprint="g",
                cache_scope="pipeline/iris",
            )
            store.tasks.record(
                run.id, [task(state=State.SUCCEEDED), task("next", State.PENDING)], token=token
            )
        store.tasks.remove(run.id, ["next"], token=token)
        store.tasks.get(run.id, "train")
        store.tasks.children(run.id, "")
        store.attempts.live(run.id)
        store.attempts.list(run.id, "train")
        store.executions.list(run.id, "train")
        store.artifacts.find_identical(
            ArtifactType("system.Model", "0.0.1"), "file:///m", {}, "pipeline/iris"
        )
        store.lineage.upstream(made.id)
        store.lineage.downstream(data.id)
        store.outbox.add("t", "k", {})
        store.outbox.claim_batch()

    assert scans(store, go) == []


def test_no_list_goes_through_a_table(store: Store, run: RunRecord) -> None:
    """The first page of everything is the end of an index; names are looked for among few."""
    made = model()
    execute(store, run, "train", outputs={"out": (made,)})
    store.tasks.record(run.id, [task()])

    def go() -> None:
        for before in (None, run.id):
            store.runs.list("default", before=before)
            store.runs.list(state=State.FAILED, before=before)
            store.runs.list(experiment="Default", before=before)
            store.runs.list(pipeline="iris", before=before)
        for before in (None, made.id):
            store.artifacts.list("default", before=before)
            store.artifacts.list(type="system.Model", before=before)
            store.artifacts.list(name="model", before=before)
            store.artifacts.list(uri="file:///m", before=before)
            store.artifacts.list(run_id=run.id, before=before)
            store.artifacts.list(run_id=run.id, path="train", before=before)
        store.runs.list(before=run.id)
        store.artifacts.list(before=made.id)
        store.tasks.page(run.id)
        store.tasks.page(run.id, after="train")
        store.lineage.stale(made.id)
        store.removals.weigh([run.id])
        store.removals.footprints([run.id])
        store.removals.referred(["file:///m"])
        store.removals.purge()

    small = ("SCAN experiments", "SCAN pipelines")
    assert [step for step in scans(store, go) if not step.startswith(small)] == []


def test_preparing_and_publishing_take_few_statements(store: Store, run: RunRecord) -> None:
    def prepare() -> None:
        with store.transaction():
            store.tasks.record(run.id, [task()])
            store.attempts.claim(run.id, "train", 0, 1, owner="me", attempt_id="a")

    def publish() -> None:
        with store.transaction():
            store.attempts.finish("a", AttemptState.SUCCEEDED)
            execute(store, run, "train", {"in": (model(),)}, {"out": (model(),)})
            store.tasks.record(run.id, [task(state=State.SUCCEEDED), task("", State.SUCCEEDED)])

    assert len(statements(store, prepare)) <= 8
    assert len(statements(store, publish)) <= 15


def test_a_change_in_a_large_run_takes_as_many_statements_as_in_a_small_one(store: Store) -> None:
    def change(run: RunRecord, index: int) -> Callable[[], object]:
        return lambda: store.tasks.record(run.id, [task(f"loop[{index}]"), task("", State.RUNNING)])

    small, large = new_run(store), new_run(store)
    for run, size in ((small, 1), (large, 3000)):
        store.tasks.record(run.id, [task(f"loop[{index}]", State.PENDING) for index in range(size)])
    assert len(statements(store, change(small, 0))) == len(statements(store, change(large, 1500)))
