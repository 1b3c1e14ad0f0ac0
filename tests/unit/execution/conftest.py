"""A cache of environments that knows nothing but a folder of packages made by hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from penstock.execution.environments.cache import Environments
from penstock.execution.environments.pythons import running_python
from tests.unit.execution.local_index import wheel


@pytest.fixture
def links(tmp_path: Path) -> Path:
    folder = tmp_path / "links"
    wheel(folder, "apple")
    wheel(folder, "banana", "2.5", requires="apple")
    return folder


@pytest.fixture(scope="session")
def uv_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared: unpacking the same pip anew is what building an empty environment takes longest for."""
    return tmp_path_factory.mktemp("uv-cache")


@pytest.fixture
def variables(tmp_path: Path, links: Path, uv_cache: Path) -> dict[str, str]:
    return {
        "PATH": f"{Path(running_python().path).parent}:{os.defpath}",
        "HOME": str(tmp_path / "home"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(links),
        "UV_CACHE_DIR": str(uv_cache),
        "SLOW_STARTED": str(tmp_path / "started"),
        "SLOW_RELEASED": str(tmp_path / "released"),
    }


@pytest.fixture
def environments(tmp_path: Path, variables: dict[str, str]) -> Environments:
    return Environments(tmp_path / "environments", offline=True, variables=variables)
