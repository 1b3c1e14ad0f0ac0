"""Prints the images that pipelines name, as a container runtime spells them: `images.py FOLDER...`.

For whoever provides them to a cluster before anything is installed: any Python can run it. Left out are
images of registries that do not exist (`registry.example.com`), those with a digest, and volume tasks, which
have no container.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

_IMAGE = re.compile(r"""^\s*(?:- )?["']?image["']?: *["']?([\w][\w./:@-]*)""", re.MULTILINE)
_NOWHERE = ("registry.example.com", "argostub/")


def images_of(folder: Path) -> Iterator[str]:
    for path in sorted(folder.iterdir()):
        for name in _IMAGE.findall(path.read_text("utf-8")):
            if not name.startswith(_NOWHERE) and "@" not in name:
                yield spelled_out(name)


def spelled_out(name: str) -> str:
    """With its registry, `library/` and tag: `docker.io/library/python:3.11` for `python:3.11`."""
    first, slash, _ = name.partition("/")
    if not slash:
        name = f"docker.io/library/{name}"
    elif not ("." in first or ":" in first or first == "localhost"):
        name = f"docker.io/{name}"
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


if __name__ == "__main__":
    found = {name for folder in sys.argv[1:] for name in images_of(Path(folder))}
    sys.stdout.write("".join(f"{name}\n" for name in sorted(found)))
