"""What of a pipeline a scheduler can have as tasks of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence

from penstock import ir
from penstock.model import Pipeline
from penstock.planner.outline import Form, Item, everything, outline
from tests.documents import Group, Shell, pipeline, retries


def load(*tasks: Shell | Group) -> Pipeline:
    return ir.load(json.dumps(pipeline("test", *tasks)))


def forms(*tasks: Shell | Group) -> dict[str, str]:
    return {item.path: item.form.value for item in everything(outline(load(*tasks)))}


def inner(name: str, *names: str, items: Sequence[int] = (1, 2), after: Sequence[str] = ()) -> Group:
    return Group(name, [Shell(one) for one in names], items=list(items), after=after)


def test_tasks_stand_after_those_they_wait_for() -> None:
    found = outline(load(Shell("last", after=["first"]), Shell("first")))
    assert [(item.name, item.upstream) for item in found] == [("first", ()), ("last", ("first",))]


def test_a_nested_pipeline_is_a_group_and_a_loop_one_for_each_item() -> None:
    assert forms(Group("inner", [Shell("a")]), inner("loop", "b")) == {
        "inner": "GROUP",
        "inner/a": "TASK",
        "loop": "LOOP",
        "loop[*]/b": "TASK",
    }


def test_a_loop_inside_a_loop_is_one_task() -> None:
    found = list(everything(outline(load(Group("outer", [inner("loop", "a", "b")], items=[1, 2])))))
    assert [(one.path, one.form, one.leaves) for one in found] == [
        ("outer", Form.LOOP, 2),
        ("outer[*]/loop", Form.WHOLE, 2),
    ]
    assert found[1].why == "it is a loop inside a loop"


def test_what_is_retried_as_a_whole_is_one_task_and_a_leaf_is_not() -> None:
    policy = retries(2)
    found = {
        item.path: item
        for item in everything(
            outline(load(Group("inner", [Shell("a")], more=policy), Shell("b", more=policy)))
        )
    }
    assert found["inner"].form is Form.WHOLE
    assert found["inner"].why == "it is retried as a whole"
    assert found["inner"].retry is None
    assert found["b"].form is Form.TASK
    assert _count(found["b"]) == 2


def test_every_leaf_is_somewhere() -> None:
    found = outline(load(Shell("a"), Group("g", [Shell("b"), inner("l", "c", "d")]), inner("m", "e")))
    assert sum(item.leaves for item in found) == 5


def _count(item: Item) -> int:
    return item.retry.max_retries if item.retry else 0
