"""Flaky: a step that fails at first and recovers by retry.

Shows `set_retry` with growing pauses. The step must know which attempt it is, though nothing of the attempt
before it is left. Kubeflow tells the attempts of a task with a retry policy their number in the variable
KFP_RETRY_INDEX (0 for the first). Where nothing sets it (`kfp.local`, older Kubeflow), the step counts its
attempts in a file of its run below `counter_folder`. That folder must outlive an attempt: on one machine the
default, the temporary folder, does; on a cluster it takes a volume.

With `failures` of 2 the third attempt succeeds. With more than 3 the retries are used up, and the run fails.

Outputs: `attempts`, how many it took, and the `average` of the prices that the step then got.
"""

from typing import NamedTuple

from kfp import compiler, dsl


@dsl.component(base_image="python:3.11")
def fetch_prices(
    failures: int,
    counter_folder: str,
    run: str,
) -> NamedTuple("Outputs", [("attempts", int), ("prices", list)]):
    """Ask a price service that answers only after it has been asked `failures` times."""
    import os
    import tempfile
    from pathlib import Path

    retry_index = os.environ.get("KFP_RETRY_INDEX", "")
    if retry_index:
        attempt = int(retry_index) + 1
    else:
        counter = Path(counter_folder or tempfile.gettempdir()) / f"flaky-attempts-{run}"
        attempt = int(counter.read_text()) + 1 if counter.exists() else 1
        counter.write_text(str(attempt))

    if attempt <= failures:
        raise ConnectionError(f"attempt {attempt}: the price service does not answer")
    print(f"attempt {attempt}: the price service answers")
    return (attempt, [101.5, 102.25, 99.75, 100.5])


@dsl.component(base_image="python:3.11")
def average_price(prices: list[float]) -> float:
    """Work with what the flaky step brought home."""
    return sum(prices) / len(prices)


class Outputs(NamedTuple):
    attempts: int
    average: float


@dsl.pipeline(name="flaky", description="A step that fails at first and recovers by retry.")
def flaky(
    failures: int = 2,
    counter_folder: str = "",
) -> Outputs:
    fetching = fetch_prices(
        failures=failures, counter_folder=counter_folder, run=dsl.PIPELINE_JOB_ID_PLACEHOLDER
    )
    fetching.set_retry(num_retries=3, backoff_duration="1s", backoff_factor=2.0)
    fetching.set_caching_options(False)
    averaging = average_price(prices=fetching.outputs["prices"])
    return Outputs(
        attempts=fetching.outputs["attempts"],
        average=averaging.output,
    )


if __name__ == "__main__":
    compiler.Compiler().compile(flaky, package_path=__file__.replace(".py", ".yaml"))
