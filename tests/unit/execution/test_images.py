"""Images stand for Pythons; this machine's take their place, openly."""

from __future__ import annotations

import pytest

from penstock.execution.environments.images import (
    AvailablePython,
    ImageRefusedError,
    PythonRequest,
    choose_python,
    wanted_python,
)


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("python:3.11", (3, 11)),
        ("python:3.11-slim", (3, 11)),
        ("python:3.9.5-alpine3.13", (3, 9, 5)),
        ("docker.io/library/python:3.9.5-alpine", (3, 9, 5)),
        ("public.ecr.aws/docker/library/python:3.12", (3, 12)),
        ("registry.example:5000/python:3.10", (3, 10)),
        ("python:3.11@sha256:0123abcd", (3, 11)),
        ("python:3.13.0rc2-slim", (3, 13, 0)),
        ("python:3.14-rc", (3, 14)),
        ("python:3", (3,)),
        ("python:2.7", (2, 7)),
        ("python", ()),
        ("python:latest", ()),
        ("python:slim", ()),
        ("python:bookworm", ()),
        ("python:alpine3.9", ()),
        ("python@sha256:0123abcd", ()),
        ("registry.example:5000/python", ()),
        ("registry.access.redhat.com/ubi9/python-311:latest", (3, 11)),
        ("ubi8/python-39", (3, 9)),
        ("quay.io/centos7/python-38-centos7", (3, 8)),
        ("gcr.io/distroless/python3-debian12", (3,)),
        ("bitnami/python:3.11.4-debian-11-r0", (3, 11, 4)),
        ("mcr.microsoft.com/devcontainers/python:1-3.11-bullseye", (3, 11)),
        ("apache/airflow:2.9.1-python3.10", (3, 10)),
        ("us-docker.pkg.dev/vertex-ai/training/tf-cpu.2-12.py310:latest", (3, 10)),
        ("tiangolo/uvicorn-gunicorn-fastapi:python3.9", (3, 9)),
    ],
)
def test_an_image_names_its_python(image: str, version: tuple[int, ...]) -> None:
    assert wanted_python(image) == PythonRequest(image, version)


@pytest.mark.parametrize(
    "image",
    [
        "alpine",
        "alpine:3.11",
        "busybox:latest",
        "tensorflow/tensorflow:2.13.0",
        "my/happy310",
        "pypy:3.10",
        "",
        "jq",
    ],
)
def test_other_images_name_none(image: str) -> None:
    assert wanted_python(image) is None


def pythons(*versions: str) -> list[AvailablePython]:
    return [AvailablePython(f"/usr/bin/python-{version}", version) for version in versions]


def chosen(image: str, *versions: str) -> tuple[str, bool]:
    request = wanted_python(image)
    assert request is not None
    choice = choose_python(request, pythons(*versions))
    return choice.python.version, bool(choice.substituted)


@pytest.mark.parametrize(
    ("image", "available", "expected"),
    [
        ("python:3.11", ("3.12.1", "3.11.7"), ("3.11.7", False)),
        ("python:3.11.2", ("3.11.7", "3.11.2"), ("3.11.2", False)),
        ("python:3.11.4", ("3.11.7", "3.11.2"), ("3.11.7", False)),
        ("python:3.9", ("3.13.0", "3.11.7", "3.12.1"), ("3.11.7", True)),
        ("python:3.13", ("3.11.7", "3.12.1"), ("3.12.1", True)),
        ("python:latest", ("3.11.7", "3.12.1"), ("3.12.1", False)),
        ("python:3-slim", ("3.9.1", "3.10.2"), ("3.10.2", False)),
        ("python:latest", ("3.14.0rc1", "3.12.1"), ("3.12.1", False)),
        ("python:3.13", ("3.14.0rc1", "3.12.1"), ("3.12.1", True)),
        ("python:3.14-rc", ("3.14.0rc1", "3.12.1"), ("3.14.0rc1", False)),
    ],
)
def test_the_same_minor_then_the_nearest_newer_then_the_newest(
    image: str, available: tuple[str, ...], expected: tuple[str, bool]
) -> None:
    assert chosen(image, *available) == expected


def test_a_substitution_says_what_replaced_what() -> None:
    choice = choose_python(PythonRequest("python:3.9", (3, 9)), pythons("3.11.7"))
    assert choice.substituted == "image python:3.9 asks for Python 3.9; ran on this machine's Python 3.11.7"


@pytest.mark.parametrize("image", ["python:3.9", "python:3.13", "python:3.11.4"])
def test_strict_refuses_what_is_not_there_and_says_how_to_get_it(image: str) -> None:
    request = wanted_python(image)
    assert request is not None
    with pytest.raises(ImageRefusedError) as caught:
        choose_python(request, pythons("3.12.1", "3.11.7"), strict=True)
    text = str(caught.value)
    assert image in text
    assert "this machine has 3.11.7, 3.12.1" in text
    assert f"uv python install {'.'.join(map(str, request.version[:2]))}" in text


def test_strict_takes_any_patch_release_of_a_minor_version() -> None:
    choice = choose_python(PythonRequest("python:3.11", (3, 11)), pythons("3.11.7"), strict=True)
    assert (choice.python.version, choice.substituted) == ("3.11.7", "")


def test_python_2_is_refused_always() -> None:
    with pytest.raises(ImageRefusedError, match="port the component to Python 3"):
        choose_python(PythonRequest("python:2.7", (2, 7)), pythons("2.7.18", "3.11.7"))


def test_a_machine_without_python_refuses() -> None:
    with pytest.raises(ImageRefusedError, match="this machine has none"):
        choose_python(PythonRequest("python:3.11", (3, 11)), [])
