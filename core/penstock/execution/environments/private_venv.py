"""A virtual environment of the attempt's own on top of a shared one.

User code may call `pip install`. Its Python sees the packages of the shared environment, but what is
installed goes into the attempt's own: pip does not touch what lies outside of `sys.prefix`, and the
attempt's packages come first on the path. Making it takes a few links, no process.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path

from penstock.execution.environments.environment import Environment

_PIP = '#!/bin/sh\nexec {python} -m pip "$@"\n'


def private_venv(shared: Environment, folder: Path) -> Environment:
    """In `folder`, which may be there already. Its variables put its own programs before the shared ones.

    Raises OSError.
    """
    minor = ".".join(shared.python_version.split(".")[:2])
    packages = f"lib/python{minor}/site-packages"
    (folder / packages).mkdir(parents=True, exist_ok=True)
    binaries = folder / "bin"
    binaries.mkdir(exist_ok=True)
    interpreter = os.path.realpath(shared.python)
    for name in ("python", "python3", f"python{minor}"):
        _link(binaries / name, interpreter)
    settings = (shared.path / "pyvenv.cfg").read_text(encoding="utf-8")
    (folder / "pyvenv.cfg").write_text(settings, encoding="utf-8")
    # addsitedir, not the bare path, so that the shared environment's own .pth files count too.
    line = f"import site; site.addsitedir({str(shared.path / packages)!r})\n"
    (folder / packages / "penstock-shared.pth").write_text(line, encoding="utf-8")
    for name in ("pip", "pip3"):
        script = binaries / name
        script.write_text(_PIP.format(python=shlex.quote(str(binaries / "python"))), encoding="utf-8")
        script.chmod(0o755)
    return replace(shared, path=folder, python=binaries / "python", bin=binaries)


def _link(path: Path, target: str) -> None:
    try:
        os.symlink(target, path)
    except FileExistsError:
        return
