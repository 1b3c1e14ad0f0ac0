"""Every pipeline of KFP's own tests, from the folder that PENSTOCK_TEST_KFP_CORPUS names."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
import yaml

from penstock.ir import dump, features, load
from tests.unit.ir.test_canonical import shuffled

CORPUS = os.environ.get("PENSTOCK_TEST_KFP_CORPUS", "")
FILES = sorted(Path(CORPUS, "pipelines").glob("*")) if CORPUS else []

pytestmark = pytest.mark.corpus
by_file = pytest.mark.parametrize("file", FILES or [Path("none")], ids=lambda file: file.stem)


@by_file
def test_it_loads_and_is_the_same_after_a_dump(file: Path) -> None:
    pipeline = load(file)
    again = load(dump(pipeline))
    assert again == pipeline
    assert again.digest == pipeline.digest
    assert not pipeline.notes
    assert features(pipeline)


@by_file
def test_the_order_of_its_keys_means_nothing(file: Path) -> None:
    documents = list(yaml.load_all(file.read_text(), yaml.CSafeLoader))
    text = yaml.dump_all(
        [shuffled(one, random.Random(file.name)) for one in documents],
        Dumper=yaml.CSafeDumper,
        sort_keys=False,
    )
    assert load(text) == load(file)
