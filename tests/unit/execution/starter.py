"""A process of its own that starts an attempt and waits for it: to be killed by the tests.

    python -m tests.unit.execution.starter HOME SCRIPT [ATTEMPT_ID]

Prints `started` when the attempt's process runs and `ended` with the outcome after it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from penstock.execution.order import LaunchOrder
from penstock.model import ParameterType
from tests.unit.execution.launching import launcher, order, script

OUTPUT_FILE = "{{$.outputs.parameters['o'].output_file}}"
MODELS = tuple(f"{{{{$.outputs.artifacts['model-{n}'].path}}}}" for n in range(3))


def ordered(home: Path, text: str, attempt_id: str = "attempt-1") -> LaunchOrder:
    """In the script `$0` is the file of the output parameter `o`, `$1` to `$3` those of three artifacts."""
    return order(
        home,
        script(text, OUTPUT_FILE, *MODELS),
        attempt_id,
        outputs={"o": ParameterType.STRING},
        output_artifacts=[f"model-{n}" for n in range(3)],
    )


def main() -> None:
    home, text = Path(sys.argv[1]), sys.argv[2]
    attempt = launcher(home).start(ordered(home, text))
    sys.stdout.write("started\n")
    sys.stdout.flush()
    manifest = attempt.wait()
    sys.stdout.write(f"ended {manifest and manifest.outcome}\n")


if __name__ == "__main__":
    main()
