"""The command line, run in this process."""

import pytest

from clinadapt.cli.main import main


def run(*arguments, capsys):
    """Exit code, standard output and standard error of one command."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    shown = capsys.readouterr()
    return stop.value.code or 0, " ".join(shown.out.split()), shown.err
