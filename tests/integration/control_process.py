"""One of several processes that ask about one run: `control_process URL RUN CLAIMS WORLD NUMBER`."""

from __future__ import annotations

import random
import sys
import time

from penstock.execution.manifest import Outcome, OutputManifest
from penstock.execution.order import LaunchOrder
from penstock.model import JsonObject
from penstock.store import Store
from tests.unit.execution.control_worlds import new_control
from tests.unit.planner.worlds import attempt_succeeds, leaf_output


def main(url: str, run_id: str, claims: str, world: str, number: str) -> None:
    rng = random.Random(int(number))
    with Store.open(url) as store, open(claims, "a", buffering=1, encoding="utf-8") as claimed:
        control = new_control(store)
        hints: list[str] = []
        while not store.runs.get(run_id).state.ended:
            if not hints:
                step = control.begin(run_id)
                hints = [*step.following, *(path for path, _ in step.again)]
                time.sleep(0.001)
                continue
            step = control.prepare(run_id, hints.pop(rng.randrange(len(hints))))
            hints += [*step.following, *(path for path, _ in step.again)]
            if step.order is None:
                continue
            if not step.adopted:
                claimed.write(f"{step.order.attempt_id} {step.order.path}\n")
            if rng.random() < 0.5:
                time.sleep(0.002)
            attempts = [one.id for one in store.attempts.list(run_id, step.order.path)]
            ends = _manifest(step.order, int(world), attempts.index(step.order.attempt_id))
            after = control.publish(run_id, step.order.path, ends)
            hints += [*after.following, *(path for path, _ in after.again)]


def _manifest(order: LaunchOrder, world: int, former: int) -> OutputManifest:
    """How it ends that has run so many times before."""
    if attempt_succeeds(world, order.path, former):
        outputs: JsonObject = {"out": leaf_output(order.inputs.parameters)}
        return OutputManifest(order.attempt_id, Outcome.SUCCEEDED, exit_code=0, parameters=outputs)
    return OutputManifest(order.attempt_id, Outcome.FAILED, exit_code=1, error="boom")


if __name__ == "__main__":
    main(*sys.argv[1:])
