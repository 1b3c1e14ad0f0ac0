from __future__ import annotations

import json

import pytest

from penstock.errors import NotFoundError
from penstock.model import JsonObject
from penstock.store import Store
from tests.unit.store.examples import pipeline


def test_saving_a_pipeline_again_is_the_same_version(store: Store) -> None:
    first = store.pipelines.save(pipeline())
    assert store.pipelines.save(pipeline()) == first
    assert [found.name for found in store.pipelines.list()] == ["iris"]


def test_another_document_is_another_version_of_the_same_pipeline(store: Store) -> None:
    first, second = store.pipelines.save(pipeline()), store.pipelines.save(pipeline(digest="d2"))
    known = store.pipelines.versions(store.pipelines.get("iris").id)
    assert [(version.id, version.digest) for version in known] == [(second, "d2"), (first, "d1")]


def test_a_namespace_has_pipelines_of_its_own(store: Store) -> None:
    assert store.pipelines.save(pipeline(), "a") != store.pipelines.save(pipeline(), "b")
    assert store.namespaces.list() == ["a", "b"]
    assert [found.namespace for found in store.pipelines.list("a")] == ["a"]
    with pytest.raises(NotFoundError):
        store.pipelines.get("iris")


def test_both_documents_come_back_as_they_were(store: Store) -> None:
    platform: JsonObject = {"platforms": {"kubernetes": {"deploymentSpec": {}}}}
    saved = pipeline(platform=platform)
    document = json.loads(store.pipelines.document(store.pipelines.save(saved)))
    assert document == {"pipeline_spec": saved.document, "platform_spec": platform}
    alone = json.loads(store.pipelines.document(store.pipelines.save(pipeline("alone"))))
    assert list(alone) == ["pipeline_spec"]


def test_an_unknown_version_is_not_found(store: Store) -> None:
    with pytest.raises(NotFoundError, match="pipeline version nowhere is not recorded"):
        store.pipelines.document("nowhere")


def test_an_experiment_is_made_once_for_each_namespace(store: Store) -> None:
    first = store.experiments.ensure("sweep", description="all of it")
    assert store.experiments.ensure("sweep") == first == store.experiments.get("sweep")
    assert store.experiments.ensure("sweep", "elsewhere").id != first.id
    assert store.experiments.list() == [first]
    with pytest.raises(NotFoundError, match="no experiment 'other' in namespace 'default'"):
        store.experiments.get("other")
