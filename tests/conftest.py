from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = [
    "pytester",
    "tests.services",
    "tests.databases",
    "tests.brokers",
    "tests.installation",
    "tests.turns",
    "tests.groups",
]

ROOT = Path(__file__).resolve().parent.parent
KEPT = ("PENSTOCK_TEST_", "PENSTOCK_REQUIRE", "PENSTOCK_FULL")

slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True, suppress_health_check=slow)
settings.register_profile("full", settings.get_profile("ci"), derandomize=False, max_examples=1000)
default = "full" if os.environ.get("PENSTOCK_FULL") else "ci" if os.environ.get("CI") else "dev"
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", default))

# Where this runs in the background of a shell, Ctrl-C is ignored; what tests start shall not inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A task may get a /tmp of its own; what tests hand to tasks lies in the other temporary folder.
if os.access("/var/tmp", os.W_OK):
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", "/var/tmp")


@pytest.fixture(scope="session", autouse=True)
def no_settings_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test sees the user's settings, writes into the user's ~/.penstock or records runs in an MLflow."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("PENSTOCK_", "MLFLOW_")) and not name.startswith(KEPT):
                patch.delenv(name)
        patch.setenv("PENSTOCK_HOME", str(tmp_path_factory.getbasetemp() / "no-home"))
        yield


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh PENSTOCK_HOME; all tests of this checkout share only the cached Python environments."""
    home = tmp_path / "home"
    monkeypatch.setenv("PENSTOCK_HOME", str(home))
    monkeypatch.setenv("PENSTOCK_ENVIRONMENTS", str(ROOT / ".venvs" / "environments"))
    return home
