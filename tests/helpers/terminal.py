"""Run the command line as a user does: in a process of its own, in a pipe or in a terminal."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

CLINADAPT = (sys.executable, "-m", "clinadapt")
ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


def piped(*arguments, cwd, **environment):
    """Return the completed process of a command whose output is a pipe."""
    return subprocess.run(
        [*CLINADAPT, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def in_terminal(*arguments, cwd, columns=80, **environment):
    """Return exit code and output, without escape sequences, of a command in a terminal."""
    child, terminal = pty.fork()
    if not child:
        os.chdir(cwd)
        kept = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        os.execvpe(
            CLINADAPT[0],
            [*CLINADAPT, *map(str, arguments)],
            kept | {"TERM": "xterm-256color"} | environment,
        )
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    output = b""
    while True:
        try:
            block = os.read(terminal, 2**16)
        except OSError:  # how Linux says that the child has closed the terminal
            break
        if not block:
            break
        output += block
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    text = ESCAPES.sub(b"", output).decode().replace("\r\n", "\n")
    return os.waitstatus_to_exitcode(status), text
