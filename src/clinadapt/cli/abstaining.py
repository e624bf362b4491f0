"""Options of the commands that can leave notes to a person."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from clinadapt.core.errors import InputError

if TYPE_CHECKING:
    from clinadapt.evaluation.abstention import Promise

ABSTAINING = "Leaving notes to a person"


@dataclass(frozen=True)
class AbstainOptions:
    """Options for what is left to a person."""

    abstain: Annotated[
        bool,
        typer.Option(
            "--abstain",
            help="Answer only where a promise can be kept, and leave the other notes to a person.",
            rich_help_panel=ABSTAINING,
        ),
    ] = False
    risk: Annotated[
        float | None,
        typer.Option(
            help="Largest share of wrong answers: 0.01, 0.02, 0.05, 0.1 or 0.2; default: 0.05.",
            rich_help_panel=ABSTAINING,
        ),
    ] = None
    coverage: Annotated[
        float | None,
        typer.Option(
            help="Share of notes whose class is in the prediction set: 0.8, 0.9, 0.95 or 0.99; "
            "default: 0.9.",
            rich_help_panel=ABSTAINING,
        ),
    ] = None


def promise_of(options: AbstainOptions) -> "Promise | None":
    """Return what is promised; None if every note is answered.

    Raises
    ------
    InputError
        A level is given, but no note may be left.
    """
    given = {
        name: level
        for name, level in (("risk", options.risk), ("coverage", options.coverage))
        if level is not None
    }
    if options.abstain:
        from clinadapt.evaluation.abstention import Promise

        return Promise(**given)
    if given:
        raise InputError([f"--{name} applies to --abstain only: give that, too" for name in given])
    return None
