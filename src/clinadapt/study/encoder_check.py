"""Look for the encoders of a study before its first run, so that a slip costs no hours."""

from collections.abc import Collection, Sequence

from clinadapt.core.errors import EncoderNotFoundError, InputError
from clinadapt.features.encoders.pretrained import open_encoder
from clinadapt.study.design import Run


def check_encoders(runs: Sequence[Run], asked_for: Collection[str] = ()) -> None:
    """Raise if an encoder of a study cannot be found or opened.

    An encoder that the design names and that could be downloaded is no reason to raise: its runs
    are skipped while it is not on this machine.

    Parameters
    ----------
    runs : sequence of Run
    asked_for : collection of str
        Encoders given instead of the design's own, which have to be there.

    Raises
    ------
    InputError
        Lists the problems of all encoders.
    """
    starts = dict.fromkeys(run.start for run in runs)
    problems: list[str] = []
    for name in (start[1] for start in starts if start is not None and start[0] == "encoder"):
        try:
            open_encoder(name)
        except InputError as error:
            problems += error.problems
        except EncoderNotFoundError as error:
            if name in asked_for:
                problems.append(str(error))
    if problems:
        raise InputError(problems)
