"""The task's own command, as our child."""

import errno
import os
import signal
import subprocess
from types import FrameType
from typing import Dict, List, Optional, Tuple

PASSED_ON = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH")


def run(command: List[str], environment: Optional[Dict[str, str]]) -> int:
    """The exit code of the command, 128 + n for signal n, with every signal to us passed on."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_SHEET")}
    home = variables.get("HOME", "/")
    if not os.access(home, os.W_OK):
        variables["HOME"] = "/tmp"
    if environment:
        programs = os.path.join(environment["root"], "bin")
        variables["PATH"] = programs + os.pathsep + variables.get("PATH", os.defpath)
        variables["VIRTUAL_ENV"] = environment["root"]
    early: List[int] = []
    child: Optional[subprocess.Popen[bytes]] = None

    def pass_on(number: int, _: Optional[FrameType]) -> None:
        if child is None:
            early.append(number)
        elif child.returncode is None:
            try:
                os.kill(child.pid, number)
            except OSError:
                pass

    for name in PASSED_ON:
        signal.signal(getattr(signal, name), pass_on)
    child = subprocess.Popen(command, env=variables)
    for number in early:
        pass_on(number, None)
    while True:
        # As process 1 we also inherit what the task leaves behind.
        pid, status = os.waitpid(-1, 0)
        if pid == child.pid:
            break
    code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    child.returncode = code
    if os.getpid() == 1:
        try:
            os.kill(-1, signal.SIGKILL)
        except OSError:
            pass
    return code


def start_failure(command: List[str], problem: OSError) -> Tuple[int, str]:
    if problem.errno == errno.E2BIG:
        return 126, "an argument is longer than the system takes; pass large values as artifacts"
    if problem.errno == errno.ENOENT:
        return 127, f"there is no program {command[0]!r} in the image"
    return 126, f"{command[0]!r} cannot be executed: {problem.strerror}"
