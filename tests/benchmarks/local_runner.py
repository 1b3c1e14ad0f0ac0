"""The same pipelines under `kfp.local`, in its default mode and its fastest, and as bare processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from penstock.model import Json
from tests.benchmarks.bench import KFP_VERSION, Bench
from tests.benchmarks.outcome import Measurement, Row, beside
from tests.benchmarks.sampling import Samples, interleave


@dataclass(frozen=True, slots=True)
class _Work:
    what: str
    pipeline: str
    component: str
    times: int
    parallel: int
    inputs: Mapping[str, Json]


_NAP: dict[str, Json] = {"seconds": 3.0}
_WORK = (
    _Work("ten Python components that do nothing, one at a time", "ten-noops", "noop", 10, 1, {}),
    _Work("six independent components that sleep 3 s, at once", "six-naps", "nap", 6, 6, _NAP),
    _Work("a loop of six that sleep 3 s, at once", "six-naps-in-a-loop", "nap", 6, 6, _NAP),
)

_NOTE = (
    f"kfp {KFP_VERSION}. Default mode: a new environment with pip installs for every task. Fastest: "
    "`SubprocessRunner(use_venv=False)`, everything preinstalled, components compiled without the pip step. "
    "It has one task at a time, two in a loop, and no setting for more. Its time is that of the run, without "
    "the import of kfp (more than a second). penstock runs the components as compiled by default, with their "
    "pip step, in its cached environment. Bare processes: the ten one after the other, the six at once."
)


def measure(bench: Bench) -> Measurement:
    rows: list[Row] = []
    samples: Samples = {}
    for work in _WORK:
        ours, bare, fastest, default = _contenders(bench, work)
        # The default mode takes minutes: it is not measured as often, and against our runs beside it.
        quick = interleave(
            bench.count(7, 1), {"penstock": ours, "bare processes": bare, "kfp.local, fastest": fastest}
        )
        bench.tell(f"{work.what}: kfp.local in its default mode")
        slow = interleave(
            bench.count(2, 1), {"penstock, beside default": ours, "kfp.local, default": default}, warm_up=0
        )
        rows += [
            beside(work.what, slow, "kfp.local, default mode"),
            beside(work.what, _pair(quick, "kfp.local, fastest"), "kfp.local, fastest mode"),
            beside(work.what, _pair(quick, "bare processes"), "bare processes"),
        ]
        samples |= {f"{work.pipeline}: {name}": values for name, values in {**quick, **slow}.items()}
    return Measurement(rows, samples, [_NOTE])


def _pair(samples: Samples, peer: str) -> Samples:
    return {name: samples[name] for name in ("penstock", peer)}


def _contenders(bench: Bench, work: _Work) -> tuple[Callable[[], float], ...]:
    pipeline = bench.load(work.pipeline)
    bare = bench.executor(work.pipeline, work.component)
    return (
        lambda: bench.run(pipeline, parallel=work.parallel),
        lambda: bare.seconds(work.times, together=work.parallel >= work.times, inputs=work.inputs),
        lambda: bench.kfp_local(work.pipeline, "fastest"),
        lambda: bench.kfp_local(work.pipeline, "default"),
    )
