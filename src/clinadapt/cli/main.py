"""Entry point of the command line; commands import heavy modules late, to keep it quick."""

import codecs
import functools
import io
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from clinadapt import __version__
from clinadapt.cli.bundle import bundle
from clinadapt.cli.cache import cache
from clinadapt.cli.check import check, encoders
from clinadapt.cli.docs import docs
from clinadapt.cli.drift import drift
from clinadapt.cli.export import export
from clinadapt.cli.failures import fail, stopped
from clinadapt.cli.language import ask_language, language_of_environment
from clinadapt.cli.options import spelled_out
from clinadapt.cli.predict import explain, predict
from clinadapt.cli.pretrain import pretrain
from clinadapt.cli.report import errors, report, track
from clinadapt.cli.serve import serve, token
from clinadapt.cli.study import demo, plan, study
from clinadapt.cli.suggest import suggest

app = typer.Typer(
    name="clinadapt",
    help="Compare classifiers for your clinical notes within a limit of memory and time, with "
    "confidence intervals. Runs offline: notes never leave the machine.",
    epilog="[bold]First steps[/]\n\n  clinadapt demo\n\n  clinadapt check notes.csv --text text "
    "--label label --group patient\n\n  clinadapt COMMAND --help",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# Every command below the heading it has in `--help`, with examples.
COMMANDS: dict[str, dict[Callable[..., None], tuple[str, ...]]] = {
    "Start": {
        demo: ("demo",),
        check: (
            "check notes.csv",
            "check notes.csv --text note --label icd --group patient --date day",
            "check notes.csv --ignore CLA004 --ignore CLA005",
        ),
        plan: ("plan notes.csv --group patient", "plan notes.csv --memory 8GB --json > plan.json"),
        study: (
            "study notes.csv --text note --label icd --group patient --out study",
            "study notes.csv --encoder camembert-bio --hours 8",
            "study --show quick > mine.toml",
            "study notes.csv --study mine.toml",
        ),
    },
    "Look at a study": {
        report: ("report study",),
        errors: ("errors study notes.csv", "errors study notes.csv --labels labels.csv"),
        bundle: ("bundle study --row 2", "bundle study notes.csv --row 2 --to second"),
        track: ("track study", "track study --store http://mlflow.hospital:5000"),
        suggest: (
            "suggest study unlabelled.csv --n 100 --id id --group patient",
            "suggest study unlabelled.csv --with-text --out to-label.csv",
        ),
    },
    "Use its model": {
        predict: (
            "predict study/recommended new.csv --id id --out scores.csv",
            "predict study/recommended new.csv --threshold 0.3 --probabilities raw",
            "predict smoker=a/best diabetes=b/best 'notes/*.parquet'",
            "predict study/recommended --database-file url.txt --into note_nlp",
        ),
        serve: ("serve study/recommended", "serve study/recommended --port 9000"),
        explain: ("explain study/recommended new.csv --limit 5",),
        drift: ("drift study/recommended new.csv", "drift study/recommended new.csv --json"),
        export: ("export study/recommended notes.csv",),
    },
    "Encoders and files": {
        encoders: ("encoders", "encoders --convert drbert"),
        pretrain: (
            "pretrain texts.parquet --out encoder",
            "pretrain texts.parquet --from camembert-bio --minutes 600",
        ),
        cache: ("cache study", "cache study --purge --older-than 30"),
        docs: ("docs", "docs slurm", "docs statistics#interval"),
    },
}


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
    language: Annotated[
        str | None,
        typer.Option(
            "--language",
            metavar="CODE",
            callback=ask_language,
            is_eager=True,
            help="Language of the terminal and of a report when it opens: en or fr; default: that "
            "of the environment (LANG) and of the browser.",
        ),
    ] = None,
) -> None:
    """Handle the options that precede a command."""


def _examples(commands: tuple[str, ...]) -> str:
    # typer keeps lines apart only where there is an empty line between them.
    return "\n\n".join(["[bold]Examples[/]", *(f"  clinadapt {line}" for line in commands)])


def _stoppable(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that Ctrl+C ends with advice; typer would end it without a word."""

    @functools.wraps(command)
    def called(**given: Any) -> None:
        try:
            command(**given)
        except KeyboardInterrupt:
            raise stopped(command.__name__, _given) from None

    return called


for heading, commands in COMMANDS.items():
    for command, examples in commands.items():
        app.command(epilog=_examples(examples), rich_help_panel=heading)(
            _stoppable(spelled_out(command))
        )
app.add_typer(token, name="token", rich_help_panel="Use its model")
_given: list[str] = []  # arguments of the command that runs


def _plainer(error: UnicodeError) -> tuple[str, int]:
    """Write what a code page lacks: French spaces and apostrophes plainly, the rest as "?"."""
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    plain = (" " if sign.isspace() else "'" if sign == "’" else "?" for sign in lacking)
    return "".join(plain), error.end


PLAINER = "clinadapt.plainer"
codecs.register_error(PLAINER, _plainer)


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; see `clinadapt.cli.failures` for exit codes."""
    _given[:] = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an old code page lacks "·" and "→"
            stream.reconfigure(errors=PLAINER)
    try:
        language_of_environment()
        return app(arguments)
    except KeyboardInterrupt:
        fail(stopped("", _given))
    except Exception as error:
        fail(error)
