"""The canonical form: the same text and digest for the same pipeline."""

from __future__ import annotations

import json
import random
from hashlib import sha256
from typing import Any

import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from penstock.errors import InvalidPipelineError
from penstock.ir import dump, load
from penstock.ir.canonical import canonical_json
from tests.unit.ir.documents import changed, hello, looped
from tests.unit.ir.test_reading import PLATFORM

JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def shuffled(value: Any, rng: random.Random) -> Any:
    if isinstance(value, list):
        return [shuffled(one, rng) for one in value]
    if not isinstance(value, dict):
        return value
    pairs = [(name, shuffled(one, rng)) for name, one in value.items()]
    rng.shuffle(pairs)
    return dict(pairs)


def test_a_dump_loads_to_the_same_pipeline() -> None:
    pipeline = load(yaml.safe_dump_all([looped({"raw": "[1, 2]"}), PLATFORM]))
    again = load(dump(pipeline))
    assert again == pipeline
    assert dump(again) == dump(pipeline)


def test_the_dump_is_the_form_of_the_rest_api() -> None:
    text = dump(load(yaml.safe_dump_all([hello(), PLATFORM])))
    assert json.loads(text) == {"pipeline_spec": hello(), "platform_spec": PLATFORM}
    assert json.loads(dump(load(json.dumps(hello())))) == {"pipeline_spec": hello()}


def test_the_digest_is_the_sha256_of_the_dump() -> None:
    pipeline = load(json.dumps(hello()))
    assert pipeline.digest == sha256(dump(pipeline).encode()).hexdigest()


@given(st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_the_order_of_keys_changes_nothing(rng: random.Random) -> None:
    document = looped({"raw": "[1]"}, dependentTasks=["use", "greet"])
    first = load(json.dumps(document))
    other = load(yaml.safe_dump_all([shuffled(document, rng)], sort_keys=False))
    assert other == first
    assert other.digest == first.digest


def test_what_changes_the_pipeline_changes_the_digest() -> None:
    digests = {
        load(json.dumps(hello())).digest,
        load(json.dumps(changed(hello(), "pipelineInfo/name", "other"))).digest,
        load(yaml.safe_dump_all([hello(), PLATFORM])).digest,
        load(yaml.safe_dump_all([hello(), changed(PLATFORM, "platforms/kubernetes/platform", "k")])).digest,
    }
    assert len(digests) == 4


@given(JSON)
@settings(deadline=None)
def test_any_constant_survives_and_numbers_are_normal(value: Any) -> None:
    document = changed(hello(), "root/inputDefinitions/parameters/name/defaultValue", value)
    try:
        pipeline = load(json.dumps(document))
    except InvalidPipelineError:
        assume(False)
        raise
    again = load(dump(pipeline))
    assert again == pipeline
    assert again.digest == pipeline.digest
    assert repr(again.root.interface) == repr(load(json.dumps(document, sort_keys=True)).root.interface)


def test_numbers_and_text_are_written_plainly() -> None:
    assert (
        canonical_json({"b": 2, "a": ["ü", "\n", 1.5, None, True]}) == '{"a":["ü","\\n",1.5,null,true],"b":2}'
    )
    pipeline = load(json.dumps(changed(hello(), "root/inputDefinitions/parameters/name/defaultValue", 2.0)))
    assert '"defaultValue":2,' in dump(pipeline)
