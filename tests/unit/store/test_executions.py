"""Executions, artifacts and the cache."""

from __future__ import annotations

import pytest

from penstock.errors import NotFoundError
from penstock.model import Artifact, ArtifactType, Values
from penstock.store import ArtifactState, ExecutionState, RunRecord, Store, new_id
from tests.unit.store.examples import MODEL, execute, model, new_run, pipeline


def test_an_execution_comes_back_with_its_values(store: Store, run: RunRecord) -> None:
    data, made = model("file:///data"), model(metadata={"framework": "sk"}, size=3, sha256="ab")
    inputs = Values({"epochs": 3}, {"data": (data, data)})
    outputs = Values({"accuracy": 0.5}, {"model": (made,)})
    execution_id = store.executions.record(
        run.id,
        "train",
        2,
        ExecutionState.COMPLETE,
        inputs=inputs,
        outputs=outputs,
        attempt_id="a1",
        fingerprint="f",
        cache_scope="pipeline/iris",
    )
    found = store.executions.get(execution_id)
    assert (found.inputs, found.outputs, found.attempt_id, found.generation) == (inputs, outputs, "a1", 2)
    assert store.executions.list(run.id) == [found] == store.executions.list(run.id, "train")
    assert store.executions.list(run.id, "other") == []
    assert store.artifacts.get(made.id).artifact == made
    with pytest.raises(NotFoundError):
        store.executions.get("nowhere")
    with pytest.raises(NotFoundError, match="run nowhere is not recorded"):
        store.executions.record(
            "nowhere", "train", 0, ExecutionState.COMPLETE, inputs=inputs, outputs=outputs
        )


def test_a_known_artifact_stays_as_it_was_first_recorded(store: Store, run: RunRecord) -> None:
    made = model()
    execute(store, run, "a", outputs={"model": (made,)})
    execute(store, run, "b", inputs={"in": (Artifact(made.id, "renamed", MODEL, "file:///elsewhere"),)})
    assert store.artifacts.get(made.id).artifact == made


def test_an_artifact_names_the_task_that_wrote_it(store: Store, run: RunRecord) -> None:
    made, imported = model(), model("gs://b/x")
    first = execute(store, run, "a", {"in": (imported,)}, {"model": (made,)})
    later = new_run(store)
    execute(
        store, later, "a", outputs={"model": (made,)}, state=ExecutionState.CACHED, cached_execution=first
    )
    found = store.artifacts.get(made.id)
    assert (found.run_id, found.path, found.state) == (run.id, "a", ArtifactState.LIVE)
    assert (store.artifacts.get(imported.id).run_id, store.artifacts.get(imported.id).path) == (None, None)
    with pytest.raises(NotFoundError, match="artifact nowhere is not recorded"):
        store.artifacts.get("nowhere")


def test_artifacts_are_filtered_and_paged_newest_first(store: Store, run: RunRecord) -> None:
    data = Artifact(new_id(), "data", ArtifactType("system.Dataset", "0.0.1"), "file:///d")
    models = [model(f"file:///{index}") for index in range(3)]
    execute(store, run, "load", outputs={"data": (data,)})
    for index, made in enumerate(models):
        execute(store, run, f"train-{index}", {"data": (data,)}, {"model": (made,)})
    other = new_run(store, namespace="n")
    theirs = model()
    execute(store, other, "train-0", outputs={"model": (theirs,)})

    def ids(**filters: str) -> list[str]:
        return [found.artifact.id for found in store.artifacts.list(**filters)]  # pyright: ignore[reportArgumentType]

    newest_first = [one.id for one in models[::-1]]
    assert ids(type="system.Model", namespace="default") == newest_first
    assert ids(run_id=run.id) == [*newest_first, data.id]
    assert ids(run_id=run.id, path="train-1") == [models[1].id]
    assert ids(name="data") == [data.id]
    assert ids(uri="file:///2") == [models[2].id]
    assert ids(namespace="n") == [theirs.id]
    first = store.artifacts.list("default", limit=2)
    rest = store.artifacts.list("default", limit=5, before=first[-1].artifact.id)
    assert [found.artifact.id for found in first + rest] == [*newest_first, data.id]


def test_an_importer_finds_the_identical_artifact_of_its_pipeline(store: Store, run: RunRecord) -> None:
    imported = model("gs://b/m", metadata={"a": 1, "b": [True]})
    execute(store, run, "importer", outputs={"artifact": (imported,)})

    def find(
        type: ArtifactType = MODEL,
        uri: str = "gs://b/m",
        scope: str = "pipeline/iris",
        namespace: str = "default",
    ) -> Artifact | None:
        return store.artifacts.find_identical(type, uri, {"b": [True], "a": 1}, scope, namespace)

    assert find() == imported
    assert find(uri="gs://b/other") is None
    assert find(type=ArtifactType("system.Model", "0.0.2")) is None
    assert find(scope="pipeline/other") is None
    assert find(namespace="n") is None
    assert (
        store.artifacts.find_identical(MODEL, "gs://b/m", {"a": True, "b": [True]}, "pipeline/iris") is None
    )
    store.artifacts.mark_deleted(imported.id)
    assert find() is None


def test_an_artifact_that_was_only_used_is_not_what_an_importer_made(store: Store, run: RunRecord) -> None:
    execute(store, run, "train", inputs={"in": (model("gs://b/m"),)})
    assert store.artifacts.find_identical(MODEL, "gs://b/m", {}, "pipeline/iris") is None


def test_the_cache_offers_complete_executions_newest_first(store: Store, run: RunRecord) -> None:
    made = [model(f"file:///{index}") for index in range(20)]
    hits = [execute(store, run, "train", outputs={"model": (one,)}, fingerprint="f") for one in made]
    later = new_run(store)
    execute(
        store,
        later,
        "train",
        outputs={"model": (made[0],)},
        fingerprint="f",
        state=ExecutionState.CACHED,
        cached_execution=hits[0],
    )
    execute(store, later, "train", fingerprint="f", state=ExecutionState.FAILED)
    found = list(store.cache.find("f", "pipeline/iris"))
    assert [hit.execution_id for hit in found] == hits[::-1]
    assert [hit.outputs.artifacts["model"] for hit in found] == [(one,) for one in made[::-1]]
    assert {(hit.run_id, hit.path) for hit in found} == {(run.id, "train")}


def test_the_cache_key_is_fingerprint_scope_and_namespace(store: Store, run: RunRecord) -> None:
    execute(store, run, "train", fingerprint="f")
    execute(store, run, "uncached")
    assert len(list(store.cache.find("f", "pipeline/iris", "default"))) == 1
    assert list(store.cache.find("g", "pipeline/iris")) == []
    assert list(store.cache.find("f", "pipeline/other")) == []
    assert list(store.cache.find("f", "pipeline/iris", "n")) == []
    assert list(store.cache.find("", "pipeline/iris")) == []


def test_a_hit_whose_artifact_was_deleted_is_none(store: Store, run: RunRecord) -> None:
    old, new = model(), model()
    first = execute(store, run, "train", outputs={"model": (old,)}, fingerprint="f")
    execute(store, run, "train", {"in": (old,)}, {"model": (new,)}, fingerprint="f")
    store.artifacts.mark_deleted(new.id)
    assert [hit.execution_id for hit in store.cache.find("f", "pipeline/iris")] == [first]
    assert store.artifacts.get(new.id).state is ArtifactState.DELETED
    with pytest.raises(NotFoundError):
        store.artifacts.mark_deleted("nowhere")


def test_the_store_can_be_written_between_two_hits(store: Store, run: RunRecord) -> None:
    for _ in range(10):
        execute(store, run, "train", fingerprint="f")
    for hit in store.cache.find("f", "pipeline/iris"):
        execute(
            store,
            run,
            "train",
            state=ExecutionState.CACHED,
            fingerprint="f",
            cached_execution=hit.execution_id,
        )
    assert len(store.executions.list(run.id)) == 20


def test_two_namespaces_do_not_share_a_cache(store: Store) -> None:
    for namespace in ("a", "b"):
        run = new_run(store, of=pipeline(), namespace=namespace)
        execute(store, run, "train", fingerprint="f")
    (hit,) = store.cache.find("f", "pipeline/iris", "b")
    assert store.runs.get(hit.run_id).namespace == "b"
