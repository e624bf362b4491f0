"""Entry point of the command line; commands import heavy modules late, to keep ``--help`` fast."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from clinadapt import __version__
from clinadapt.cli.cache import cache
from clinadapt.cli.check import check, encoders
from clinadapt.cli.docs import docs
from clinadapt.cli.drift import drift
from clinadapt.cli.export import export
from clinadapt.cli.options import spelled_out
from clinadapt.cli.predict import explain, predict
from clinadapt.cli.pretrain import pretrain
from clinadapt.cli.report import errors, report, track
from clinadapt.cli.serve import serve, token
from clinadapt.cli.study import plan, study
from clinadapt.core.errors import ClinadaptError, describe_unexpected
from clinadapt.core.machine_faults import machine_faults_told, shown

app = typer.Typer(
    name="clinadapt",
    help="Compare classifiers for your clinical notes within a limit of memory and time, with "
    "confidence intervals. Runs offline: notes never leave the machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS = (
    study, plan, check, predict, serve, export, explain, errors, drift, report, track, encoders,
    pretrain, cache, docs,
)  # fmt: skip


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"clinadapt {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Handle the options that precede a command."""


for command in COMMANDS:
    app.command()(spelled_out(command))
app.add_typer(token, name="token")


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; errors that the user can fix have no traceback."""
    try:
        with machine_faults_told():
            return app(arguments, standalone_mode=True)
    except ClinadaptError as error:
        problems = getattr(error, "problems", [str(error)])
        heading = f"{len(problems)} problems:\n" if len(problems) > 1 else ""
        lines = "\n".join(f"  - {problem}" for problem in problems)
        print(f"error: {heading}{lines if heading else problems[0]}", file=sys.stderr)
        return sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("\nStopped. Run the same command again to resume.", file=sys.stderr)
        return sys.exit(130)
    except OSError as error:
        if os.environ.get("CLINADAPT_DEBUG"):
            raise
        named = f": {shown(Path(error.filename))}" if isinstance(error.filename, str) else ""
        print(f"error: {error.strerror or type(error).__name__}{named}", file=sys.stderr)
        return sys.exit(2)
    except Exception as error:
        if os.environ.get("CLINADAPT_DEBUG"):
            raise
        print(
            f"error: {describe_unexpected(error)}. This is a bug in clinadapt. Set "
            "CLINADAPT_DEBUG=1 to see the message, which may quote notes",
            file=sys.stderr,
        )
        return sys.exit(1)
