"""Run the command line: ``python -m clinadapt``."""

from clinadapt.cli.main import main

main()
