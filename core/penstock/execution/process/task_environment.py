"""The environment variables of a task: its own, what a network needs, and nothing else of the caller's."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from penstock.execution.environments.environment import Environment
from penstock.execution.order import LaunchOrder
from penstock.execution.process.process_tree import MARK

_HANDED_ON = (
    *("LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ"),
    *(
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "NODE_EXTRA_CA_CERTS",
        "PIP_CERT",
    ),
    *(
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
    ),
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_FIND_LINKS", "PIP_NO_INDEX"),
    *("PIP_CONFIG_FILE", "PIP_CLIENT_CERT"),
    *("UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_NO_INDEX"),
    *("UV_CONFIG_FILE", "UV_SYSTEM_CERTS", "UV_NATIVE_TLS", "UV_OFFLINE", "UV_INSECURE_HOST"),
    *("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"),
)

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def task_environment(
    order: LaunchOrder,
    declared: Mapping[str, str],
    *,
    mark: str,
    home: Path,
    temporary: Path,
    environment: Environment | None = None,
    programs: Sequence[Path] = (),
    pass_on: Sequence[str] = (),
    caller: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """`declared` are the component's variables with their placeholders resolved; they may replace ours.

    Before whatever PATH there is, also a declared one, come the programs of `environment` and of the folders
    `programs`, in this order.
    """
    found = {"LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", **handed_on(pass_on, caller)}
    if "PIP_CONFIG_FILE" not in found and (settings := _pip_settings(caller)):
        found["PIP_CONFIG_FILE"] = str(settings)
    path = os.pathsep.join([*map(str, programs), declared.get("PATH") or host_path(caller)])
    found |= {"HOME": str(home), "TMPDIR": str(temporary), "PATH": path}
    if environment is not None:
        found = environment.variables(found)
    return {
        **found,
        **order.environment,
        **{name: value for name, value in declared.items() if name != "PATH"},
        "KFP_RETRY_INDEX": str(order.retry_index),
        "PENSTOCK_RUN_ID": order.run.run_id,
        "PENSTOCK_TASK_PATH": order.path,
        "PENSTOCK_ATTEMPT_ID": order.attempt_id,
        MARK: mark,
    }


def handed_on(pass_on: Sequence[str], caller: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The caller's variables that every task gets."""
    return {name: caller[name] for name in (*_HANDED_ON, *pass_on) if name in caller}


def host_path(caller: Mapping[str, str] = os.environ) -> str:
    """The caller's PATH without the virtual environment that penstock itself runs in: it is not the task's
    to use.
    """
    own = {os.path.join(sys.prefix, "bin")} if sys.prefix != sys.base_prefix else set[str]()
    if venv := caller.get("VIRTUAL_ENV"):
        own.add(os.path.join(venv, "bin"))
    parts = [
        one for one in caller.get("PATH", "").split(os.pathsep) if one.startswith("/") and one not in own
    ]
    return os.pathsep.join(parts) or _DEFAULT_PATH


def _pip_settings(caller: Mapping[str, str]) -> Path | None:
    """The caller's own pip settings, which would not be found in the task's private home."""
    home = caller.get("HOME")
    if not home:
        return None
    config = Path(caller.get("XDG_CONFIG_HOME") or f"{home}/.config")
    for one in (config / "pip" / "pip.conf", Path(home) / ".pip" / "pip.conf"):
        if one.is_file():
            return one
    return None
