"""Removal of random records by random rules: nothing that stays misses anything, and the rest goes."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.store import Store
from tests.unit.store.removal_worlds import (
    World,
    check_all_is_gone_that_may_go,
    check_nothing_dangles,
    record,
    worlds,
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(world=worlds(), page=st.integers(1, 4), cut=st.integers(0, 8))
def test_what_may_go_goes_and_nothing_else_wherever_it_is_cut_short(
    store: Store, world: World, page: int, cut: int
) -> None:
    recorded = record(store, world)
    removals = store.removals
    chosen = removals.choose(world.rule(recorded.namespace))
    assert set(chosen) == recorded.ids(world.chosen())
    assert set(removals.weigh(chosen).removable) == recorded.ids(world.removable())

    # The first gc is cut short after so many transactions.
    removals.mark(chosen[: len(chosen) // 2])
    for _ in range(cut):
        removals.purge(page)
    check_nothing_dangles(store, recorded)

    removals.mark(removals.choose(world.rule(recorded.namespace)))
    while removals.purge(page) is not None:
        check_nothing_dangles(store, recorded)

    check_nothing_dangles(store, recorded)
    check_all_is_gone_that_may_go(store, recorded)
    places = {one.run_id for one in removals.contents()}
    assert places == {run.id for run in recorded.runs} - {
        run.id for run in store.runs.list(recorded.namespace)
    }
    removals.finish(list(places))
