"""A generated pipeline of any size, shaped like what the KFP SDK writes, and the cost of loading it.

python -m tests.benchmarks.large_ir [components]
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import yaml

_SOURCE = '''
import kfp
from kfp import dsl
from kfp.dsl import *
from typing import *

def step_{index}(text: str, rounds: int, previous: int = 0) -> int:
    """Counts what is left of the text after the given number of rounds."""
    import collections
    import json
    import random

    generator = random.Random({index})
    words = text.split()
    for number in range(rounds):
        generator.shuffle(words)
        counted = collections.Counter(words)
        if not counted:
            print(f"nothing left after {{number}} rounds")
            break
        word, times = counted.most_common(1)[0]
        print(json.dumps({{"round": number, "word": word, "times": times}}))
        words = [one for one in words if one != word]
    return previous + len(words)
'''

_PIP = """
if ! [ -x "$(command -v pip)" ]; then
    python3 -m ensurepip || python3 -m ensurepip --user || apt-get install python3-pip
fi

PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install --quiet --no-warn-script-location 'kfp==2.17.0' \
'--no-deps' 'typing-extensions>=3.7.4,<5; python_version<"3.9"'  &&  python3 -m pip install --quiet \
--no-warn-script-location 'pandas==2.2.3' 'scikit-learn==1.5.2' && "$0" "$@"
"""
_BOOTSTRAP = (
    'program_path=$(mktemp -d)\n\nprintf "%s" "$0" > "$program_path/ephemeral_component.py"\n'
    "_KFP_RUNTIME=true python3 -m kfp.dsl.executor_main                         --component_module_path"
    '                         "$program_path/ephemeral_component.py"                         "$@"\n'
)


def document(size: int = 2000, width: int = 50) -> dict[str, Any]:
    """`size` components, executors and tasks: `width` chains of tasks beside each other."""
    components: dict[str, Any] = {}
    executors: dict[str, Any] = {}
    tasks: dict[str, Any] = {}
    for index in range(size):
        components[f"comp-step-{index}"] = {
            "executorLabel": f"exec-step-{index}",
            "inputDefinitions": {
                "parameters": {
                    "previous": {
                        "defaultValue": 0.0,
                        "isOptional": True,
                        "parameterType": "NUMBER_INTEGER",
                    },
                    "rounds": {"parameterType": "NUMBER_INTEGER"},
                    "text": {"parameterType": "STRING"},
                }
            },
            "outputDefinitions": {"parameters": {"Output": {"parameterType": "NUMBER_INTEGER"}}},
        }
        executors[f"exec-step-{index}"] = {
            "container": {
                "args": [
                    "--executor_input",
                    "{{$}}",
                    "--function_to_execute",
                    f"step_{index}",
                ],
                "command": [
                    "sh",
                    "-c",
                    _PIP,
                    "sh",
                    "-ec",
                    _BOOTSTRAP,
                    _SOURCE.format(index=index),
                ],
                "image": "python:3.11",
            }
        }
        parameters: dict[str, Any] = {
            "rounds": {"runtimeValue": {"constant": float(index % 7)}},
            "text": {"componentInputParameter": "text"},
        }
        task: dict[str, Any] = {
            "cachingOptions": {"enableCache": True},
            "componentRef": {"name": f"comp-step-{index}"},
            "inputs": {"parameters": parameters},
            "taskInfo": {"name": f"step-{index}"},
        }
        if index >= width:
            producer = f"step-{index - width}"
            task["dependentTasks"] = [producer]
            parameters["previous"] = {
                "taskOutputParameter": {
                    "outputParameterKey": "Output",
                    "producerTask": producer,
                }
            }
        tasks[f"step-{index}"] = task
    return {
        "components": components,
        "deploymentSpec": {"executors": executors},
        "pipelineInfo": {"name": "large"},
        "root": {
            "dag": {"tasks": tasks},
            "inputDefinitions": {"parameters": {"text": {"parameterType": "STRING"}}},
        },
        "schemaVersion": "2.1.0",
        "sdkVersion": "kfp-2.17.0",
    }


def yaml_text(size: int = 2000) -> str:
    """As the compiler writes it: PyYAML's default styles."""
    return yaml.dump(document(size), Dumper=yaml.CSafeDumper, sort_keys=True)


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def main(size: int = 2000, rounds: int = 5) -> dict[str, float]:
    """Seconds (medians) and their ratio; both loaders take turns in one process."""
    from penstock import ir

    text = yaml_text(size)
    canonical = ir.dump(ir.load(text))
    samples: dict[str, list[float]] = {"yaml": [], "penstock": [], "json": []}
    for _ in range(rounds):
        samples["yaml"].append(seconds(lambda: yaml.load(text, yaml.CSafeLoader)))
        samples["penstock"].append(seconds(lambda: ir.load(text)))
        samples["json"].append(seconds(lambda: ir.load(canonical)))
    found = {name: statistics.median(values) for name, values in samples.items()}
    found["ratio"] = found["penstock"] / found["yaml"]
    found["megabytes"] = len(text) / 1e6
    return found


if __name__ == "__main__":
    print(json.dumps(main(*map(int, sys.argv[1:])), indent=2))
