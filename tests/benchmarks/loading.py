"""Loading a large pipeline, beside the bare parsing of its YAML by libyaml."""

from __future__ import annotations

import statistics

import yaml

from penstock import ir
from tests.benchmarks.bench import Bench
from tests.benchmarks.large_ir import yaml_text
from tests.benchmarks.outcome import Measurement, alone, beside
from tests.benchmarks.sampling import interleave, seconds

_COMPONENTS = 2000


def measure(bench: Bench) -> Measurement:
    file = bench.home / "large.yaml"
    file.write_text(yaml_text(_COMPONENTS))
    canonical = bench.home / "large.json"
    canonical.write_text(ir.dump(ir.load(file)))

    def parse() -> None:
        yaml.load(file.read_bytes(), yaml.CSafeLoader)

    samples = interleave(
        bench.count(15, 3),
        {
            "from YAML": lambda: seconds(lambda: ir.load(file)),
            "CSafeLoader": lambda: seconds(parse),
            "from canonical JSON": lambda: seconds(lambda: ir.load(canonical)),
        },
    )
    compact = samples.pop("from canonical JSON")
    megabytes = file.stat().st_size / 1e6
    note = (
        f"The file has {megabytes:.1f} MB as YAML. `yaml.load` only parses it; we check it and make a "
        "pipeline of it. That still takes less: most of the peer's time goes into PyYAML's nodes and "
        "constructors, which our reader of libyaml's events does without. Nothing is cached between loads."
    )
    what = f"load an IR of {_COMPONENTS:,} components"
    return Measurement(
        [
            beside(f"{what}, YAML", samples, "`yaml.CSafeLoader`", at_most=1.3),
            alone(f"{what}, canonical JSON", statistics.median(compact), "s", at_most=0.3),
        ],
        {**samples, "from canonical JSON": compact},
        [note],
    )
