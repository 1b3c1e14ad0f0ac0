"""The pipelines that are killed, interrupted and starved, made of the parts of `workload`."""

from __future__ import annotations

from penstock.model import JsonObject
from tests.documents import constant, given, made_by, output
from tests.faults.workload import dag, pipeline, retry, task

_OUTPUTS = {
    "total": ("NUMBER_INTEGER", "gather", "total"),
    "joined": ("STRING", "join", "joined"),
}
_COMPLETED = "ALL_UPSTREAM_TASKS_COMPLETED"


def large() -> JsonObject:
    """Some thirty attempts: a fan, a loop, nested pipelines, conditions, retries, the cache, a failure.

    The parameter `doomed` says whether a task fails in the end, and the run with it.
    """
    fans = [f"fan-{n}" for n in range(1, 5)]
    tasks = [
        *(task(name, "blob", {"n": constant(n)}) for n, name in enumerate(fans, 1)),
        _gather(),
        _loop(["a", "b", "c", "d", "e"], parallelism=3),
        _joined(),
        task("nested", "nested", {"n": constant(7)}),
        task("restarted", "restarted", retryPolicy=retry(2, 0.1)),
        *_branches(),
        task("flaky", "flaky", retryPolicy=retry(3, 0.2)),
        task("leaver", "leaver"),
        task("cached", "quiet", cached=True),
        task("after-cached", "quiet", cached=True, after=["cached"]),
        task("doomed", "doomed", {"fails": given("doomed")}),
        task("after-doomed", "pause", after=["doomed"]),
    ]
    nested = {
        "for-loop-1": _body(),
        "nested": dag(
            [
                task("prepare", "blob", {"n": given("n")}),
                task("train", "score", artifacts={"made": made_by("prepare", "blob")}, after=["prepare"]),
            ],
            inputs={"n": "NUMBER_INTEGER"},
            outputs={"score": ("NUMBER_INTEGER", "train", "score")},
        ),
        "restarted": dag([task("step", "pause"), task("fragile", "fragile", after=["step"])]),
        **_branch_bodies(),
    }
    root = dag(
        [*tasks, _cleanup(tasks)],
        inputs={"doomed": "BOOLEAN"},
        outputs={
            **_OUTPUTS,
            "score": ("NUMBER_INTEGER", "nested", "score"),
            "tries": ("NUMBER_INTEGER", "flaky", "tries"),
        },
    )
    return pipeline("faults-large", root, nested)


def small() -> JsonObject:
    """The fewest tasks that pass every failpoint while others run beside."""
    tasks = [
        task("fan-1", "blob", {"n": constant(1)}),
        task("fan-2", "blob", {"n": constant(2)}),
        _gather(),
        _loop(["a", "b", "c"], parallelism=2),
        _joined(),
        task("flaky", "flaky", retryPolicy=retry(2, 0.05)),
        task("leaver", "leaver"),
        task("cached", "quiet", cached=True),
        *_branches(),
    ]
    root = dag([*tasks, _cleanup(tasks)], inputs={"doomed": "BOOLEAN"}, outputs=_OUTPUTS)
    return pipeline("faults-small", root, {"for-loop-1": _body(), **_branch_bodies()})


def primer(name: str) -> JsonObject:
    """What must have run once, in a pipeline of that name, for the others' tasks to be cached."""
    return pipeline(name, dag([task("quiet", "quiet", cached=True)]))


def single(component: str, *, retries: int = 0, backoff: float = 0.0, count: int = 1) -> JsonObject:
    """`count` independent tasks of one component, and one that never comes up."""
    names = [f"task-{n}" for n in range(1, count + 1)]
    tasks = [task(name, component, retryPolicy=retry(retries, backoff)) for name in names]
    tasks.append(task("never", "pause", after=names))
    return pipeline(f"faults-{component}", dag(tasks))


def filling(count: int) -> JsonObject:
    """`count` artifacts of 700 kB each, one after the other, and a last one made of two of them."""
    fans = [
        task(f"fan-{n}", "blob", {"n": constant(n)}, after=[f"fan-{n - 1}"] if n > 1 else [])
        for n in range(1, count + 1)
    ]
    gather = {**_gather(), "dependentTasks": ["fan-1", "fan-2", f"fan-{count}"]}
    root = dag([*fans, gather], outputs={"total": ("NUMBER_INTEGER", "gather", "total")})
    return pipeline("faults-filling", root)


def _gather() -> JsonObject:
    return task(
        "gather",
        "folder",
        {"x": output("fan-1", "square"), "y": output("fan-2", "square")},
        {"a": made_by("fan-1", "blob"), "b": made_by("fan-2", "blob")},
        after=["fan-1", "fan-2"],
    )


def _loop(items: list[str], parallelism: int) -> JsonObject:
    return task(
        "for-loop-1",
        "for-loop-1",
        iteratorPolicy={"parallelismLimit": parallelism},
        parameterIterator={
            "itemInput": "item",
            "items": {"raw": "[" + ", ".join(f'"{one}"' for one in items) + "]"},
        },
    )


def _body() -> JsonObject:
    return dag(
        [
            task("work", "work", {"item": given("item")}),
            task(
                "check",
                "check",
                {"twice": output("work", "twice")},
                {"made": made_by("work", "made")},
                after=["work"],
            ),
        ],
        inputs={"item": "STRING"},
        outputs={"size": ("STRING", "check", "size")},
        made={"made": ("work", "made")},
    )


def _joined() -> JsonObject:
    return task("join", "join", {"texts": output("for-loop-1", "size")}, after=["for-loop-1"])


def _branches() -> list[JsonObject]:
    total = output("gather", "total")
    return [
        task(
            "condition-1",
            "condition-1",
            {"total": total},
            after=["gather"],
            triggerPolicy={"condition": "int(inputs.parameter_values['total']) > 4"},
        ),
        task(
            "condition-2",
            "condition-2",
            {"total": total},
            after=["gather"],
            triggerPolicy={"condition": "int(inputs.parameter_values['total']) > 5"},
        ),
        task("after-condition-2", "pause", after=["condition-2"]),
    ]


def _branch_bodies() -> dict[str, JsonObject]:
    total = {"total": "NUMBER_INTEGER"}
    return {
        "condition-1": dag([task("notify", "pause")], inputs=total),
        "condition-2": dag([task("never", "pause")], inputs=total),
    }


def _cleanup(tasks: list[JsonObject]) -> JsonObject:
    """Runs when all others have ended, however they ended."""
    names: list[str] = []
    for one in tasks:
        info = one["taskInfo"]
        assert isinstance(info, dict)
        names.append(str(info["name"]))
    return task("cleanup", "pause", after=names, triggerPolicy={"strategy": _COMPLETED})
