"""Run the command line in this process."""

import pytest

from clinadapt.cli.main import main


def run(*arguments, capsys):
    """Return exit code, standard output and standard error of a command."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    output = capsys.readouterr()
    return stop.value.code or 0, " ".join(output.out.split()), output.err
