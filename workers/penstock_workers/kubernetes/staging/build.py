"""Packages, installed once and stored as an archive, for the pods that need them."""

import os
import subprocess
import sys
import tarfile
import tempfile
from typing import Any, Dict, List

from inputs import python_tag
from outputs import Upload
from store import Remote, Sheet, StageError

SMALL = 16 << 20
"""Bytes of packages up to which they are not compressed."""


def build(sheet: Sheet, remote: Remote) -> Dict[str, Any]:
    """A virtual environment on top of the image's own packages, installed by the image's own pip."""
    wanted = sheet["build"]
    root = str(wanted["root"])
    has_pip = subprocess.call([sys.executable, "-Ic", "import pip"], stderr=subprocess.DEVNULL) == 0
    options = ["--system-site-packages"] + (["--without-pip"] if has_pip else [])
    _checked([sys.executable, "-m", "venv", *options, root], {})
    pip = [os.path.join(root, "bin", "python"), "-m", "pip", "install", "--no-warn-script-location"]
    for arguments in wanted["installs"]:
        _checked([*pip, "--disable-pip-version-check", *arguments], wanted["substitutes"])
    with tempfile.NamedTemporaryFile(dir=os.path.dirname(root), prefix="penstock-") as file:
        with _archive(file, _size(root)) as archive:
            for name in sorted(os.listdir(root)):
                archive.add(os.path.join(root, name), name)
        file.flush()
        stored = Upload(sheet, remote).file(file.name, "", wanted["uri"], "the archive of packages")
    return dict(stored, python=python_tag())


def _archive(file: Any, size: int) -> tarfile.TarFile:
    """What is small costs more to compress and to expand, in every pod, than to carry."""
    if size <= SMALL:
        return tarfile.open(fileobj=file, mode="w")
    return tarfile.open(fileobj=file, mode="w:gz", compresslevel=1)


def _size(folder: str) -> int:
    files = (os.path.join(above, name) for above, _, names in os.walk(folder) for name in names)
    return sum(os.lstat(one).st_size for one in files)


def _checked(command: List[str], substitutes: Dict[str, str]) -> None:
    """Run it with its output in the log. A requirement that no index has may have a substitute."""
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert child.stdout is not None
    last, missing, said = "", "", ""
    for line in child.stdout:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
        text = line.decode("utf-8", "replace").strip()
        last = text or last
        if text.startswith("ERROR: "):
            said = said or text[len("ERROR: ") :]
        if "No matching distribution found for " in text:
            missing = text.rpartition(" for ")[2]
    if child.wait() == 0:
        return None
    if missing in substitutes and missing in command:
        changed = [substitutes[one] if one == missing else one for one in command]
        return _checked(changed, {})
    no_index = "No matching distribution found for " + missing if missing else ""
    raise StageError("packages cannot be installed: {}".format(no_index or said or last))
