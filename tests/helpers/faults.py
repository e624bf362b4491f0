"""Run the command line many times, each time with a fault of the machine at one chosen write.

This file is also a program: it imports clinadapt once and forks a child for each command, because
polars must not be used before a fork. Python's audit events tell what is about to be written.
"""

import errno
import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KILLED = 99
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = ("os.rename", "os.mkdir", "os.link", "os.remove", "os.rmdir")


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, what it printed, and how often it wrote."""

    code: int
    output: str
    writes: int


class Machine:
    """A process that runs commands one after the other, with a fault if asked."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self.process, self.log = process, log

    def run(self, out: Path, *arguments: Any, fault: str = "", at: int = 0) -> Ended:
        """Run a command; a fault comes at a write below `out`, counted from 1.

        ``full``: from this write on, there is no room. ``denied``: this write alone is denied.
        ``kill``: the process is killed, and leaves half of a file that it was renaming.
        ``copy``: no fault; `out` is copied to ``copies/N`` beside the log at the writes N of which
        there are `at` between one and the next, as a process that is killed there leaves it.
        """
        asked = {"out": str(out), "fault": fault, "at": at, "log": str(self.log)}
        asked["arguments"] = [str(argument) for argument in arguments]
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        code, writes = json.loads(self.process.stdout.readline())
        return Ended(code, self.log.read_text(encoding="utf-8"), writes)


@contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """Start a `Machine` whose files are in a folder."""
    few = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **few},
    ) as process:  # at the end, its input is closed, and it ends too
        yield Machine(process, folder / "log")


class Writes:
    """An audit hook that counts writes below a folder, and has one of them fail."""

    def __init__(self, out: str, fault: str, at: int, copies: Path) -> None:
        self.out, self.fault, self.at, self.copies = out, fault, at, copies
        self.count = 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" and event not in CHANGES:
            return
        path = arguments[0]
        if not isinstance(path, str | os.PathLike) or not os.fspath(path).startswith(self.out):
            return
        if event == "open" and not arguments[2] & WRITES:
            return
        self.count += 1
        deletes = event in ("os.remove", "os.rmdir")
        if self.fault == "full" and self.count >= self.at and not deletes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        if self.fault == "denied" and self.count == self.at:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        if self.fault == "kill" and self.count == self.at:
            self._halve(event, path)
            os._exit(KILLED)
        if self.fault == "copy" and self.count % self.at == 0 and os.path.isdir(self.out):
            copy = self.copies / str(self.count)
            shutil.copytree(self.out, copy)
            self._halve(event, copy / os.path.relpath(path, self.out))

    @staticmethod
    def _halve(event: str, path: "str | os.PathLike[str]") -> None:
        """Leave half of a file that is about to be renamed."""
        if event == "os.rename" and os.path.isfile(path):
            os.truncate(path, os.path.getsize(path) // 2)


def _child(asked: dict[str, Any], pipe: int) -> None:
    from clinadapt.cli.main import main

    log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    writes = Writes(
        asked["out"], asked["fault"], asked["at"], Path(asked["log"]).with_name("copies")
    )
    sys.addaudithook(writes)
    code = 1
    try:
        main(asked["arguments"])
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        with os.fdopen(pipe, "w") as answer:
            json.dump([writes.count, list(sys.modules)], answer)
        os._exit(code)


def _prepare() -> None:
    """Do once what each child would do again, and uses neither polars nor threads."""
    import clinadapt.study.runner  # noqa: F401
    from clinadapt.core import device, html
    from clinadapt.models import registry
    from clinadapt.report import page

    device.environment()
    registry.models()
    page._library()
    environment = html.page_environment("clinadapt.report")
    for name in environment.list_templates(extensions=["jinja"]):
        environment.get_template(name)


def _serve() -> None:
    _prepare()
    for line in sys.stdin:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            _child(json.loads(line), write)
        os.close(write)
        with os.fdopen(read) as answer:
            count, modules = json.loads(answer.read() or "[0, []]")
        _, status = os.waitpid(child, 0)
        for name in modules:  # the next child need not import what this one did
            with suppress(ImportError):
                importlib.import_module(name)
        print(json.dumps([os.waitstatus_to_exitcode(status), count]), flush=True)


if __name__ == "__main__":
    _serve()
