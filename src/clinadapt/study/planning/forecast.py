"""What a row will cost: short runs on some notes, extrapolated to all of them.

Time is what does not depend on the epochs, and for each epoch its steps (by their padded tokens)
and the scoring of validation notes after it. Memory is what the runs held, plus what is counted
for the longest batch. Early stopping cannot be foreseen: seconds are those of all epochs.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from clinadapt.core.device import pick_device
from clinadapt.core.errors import ClinadaptError, LimitError
from clinadapt.features.state_cache import HELD_BYTES
from clinadapt.models import registry
from clinadapt.models.contract import Model
from clinadapt.models.load import load
from clinadapt.neural.training.loop import epoch_batches
from clinadapt.neural.training.memory_budget import Economy, Footprint
from clinadapt.study import result_files
from clinadapt.study.design import Cell, Row
from clinadapt.study.planning.trial_runs import Prober, Reading, Run

STATE_BYTES = 2  # of a number in a cached state
# While a fit goes on, its checkpoint holds weights, two moments and the best epoch's weights.
CHECKPOINT_BYTES = 16


@dataclass(frozen=True)
class Phase:
    """One training of a fit.

    Attributes
    ----------
    epochs : int
        At most.
    epoch_seconds : float
        Of an epoch's steps.
    between_seconds : float
        Between two epochs: validation notes are scored, weights are kept.
    """

    epochs: int
    epoch_seconds: float
    between_seconds: float

    def seconds(self, epochs: int) -> float:
        """Of so many epochs."""
        return epochs * self.epoch_seconds + max(0, epochs - 1) * self.between_seconds


@dataclass(frozen=True)
class Forecast:
    """What a cell of a row is predicted to cost.

    Attributes
    ----------
    row : str
    reason : str, optional
        Why the row cannot run; the rest is then zero.
    fits : bool
        False if that reason is the memory limit.
    fixed_seconds : float
        Whatever the epochs: tokens, features, validation and test scores, the bundle.
    phases : tuple of Phase
    states : str, optional
        Of cached states; the first cell that needs them computes them.
    states_seconds, states_bytes, states_peak_bytes
        Of computing them: seconds, bytes on disk, largest memory.
    held_bytes, peak_bytes : int
        What the process held before the cell, and at most.
    bundle_bytes, checkpoint_bytes : int
        On disk: of the model, and while it is trained.
    economies : tuple of str
        What is given up for the memory limit.
    """

    row: str
    reason: str | None = None
    fits: bool = True
    fixed_seconds: float = 0.0
    phases: tuple[Phase, ...] = ()
    states: str | None = None
    states_seconds: float = 0.0
    states_bytes: int = 0
    states_peak_bytes: int = 0
    held_bytes: int = 0
    peak_bytes: int = 0
    bundle_bytes: int = 0
    checkpoint_bytes: int = 0
    economies: tuple[str, ...] = ()

    @property
    def epochs(self) -> int:
        """Epochs of the last training, the one that may stop early; 0 without any."""
        return self.phases[-1].epochs if self.phases else 0

    def named(self, row: str) -> "Forecast":
        """The same of another row."""
        return replace(self, row=row)

    def seconds(self, computes_states: bool, epochs: int | None = None) -> float:
        """Of a cell.

        Parameters
        ----------
        computes_states : bool
        epochs : int, optional
            Of the last training; default all.
        """
        training = sum(phase.seconds(phase.epochs) for phase in self.phases[:-1])
        if self.phases:
            training += self.phases[-1].seconds(self.epochs if epochs is None else epochs)
        return self.fixed_seconds + training + self.states_seconds * computes_states

    def peak(self, computes_states: bool, held: int | None = None) -> int:
        """Bytes at the worst moment.

        Parameters
        ----------
        computes_states : bool
        held : int, optional
            What the process holds before the cell; default what it held before the probe.
        """
        peak = max(self.peak_bytes, self.states_peak_bytes if computes_states else 0)
        return peak if held is None else peak + held - self.held_bytes


def forecast(prober: Prober, cell: Cell) -> Forecast:
    """Run a cell on some notes and extrapolate; a row that cannot run says why."""
    try:
        model = cell.build()
        parts = model.parts()
        if len(parts) == 1:
            return _forecast(prober, cell)
        forecasts = (_forecast(prober, _part(cell, part)) for part in parts)
        return reduce(together, forecasts).named(cell.row.label)
    except ClinadaptError as error:
        fits = not isinstance(error, LimitError)
        return Forecast(cell.row.label, reason=str(error), fits=fits)
    except Exception as error:  # its message may quote a note
        return Forecast(cell.row.label, reason=f"{type(error).__name__} on a few of the notes")


def _part(cell: Cell, model: Any) -> Cell:
    """A part of a cell's model as a cell of its own."""
    return Cell(
        Row(registry.name_of(model), registry.settings_of(model), cell.row.label), cell.seed
    )


def together(sparse: Forecast, encoder: Forecast) -> Forecast:
    """Two models fitted one after the other and kept together, as one row.

    Parameters
    ----------
    sparse : Forecast
        Without epochs, states or economies of its own.
    encoder : Forecast
    """
    beside = sparse.peak_bytes - sparse.held_bytes
    return replace(
        encoder,
        fixed_seconds=sparse.fixed_seconds + encoder.fixed_seconds,
        peak_bytes=encoder.peak_bytes + beside,
        bundle_bytes=sparse.bundle_bytes + encoder.bundle_bytes,
    )


def _forecast(prober: Prober, cell: Cell) -> Forecast:
    unfitted = cell.build()
    reading = None
    if unfitted.reads_encoder():
        reading = prober.reading(cell, unfitted)
    runs = prober.runs(cell, reading.train if reading else None)
    model = load(prober.folder / "cell" / result_files.BUNDLE).model_
    last, notes = runs[-1], prober.notes
    footprint = model.footprint(pick_device(getattr(model, "device", "cpu")))
    work = _Work(prober, cell, model, last)
    tokens = prober.tokens(work.tokenizer, model) if work.tokenizer else 0
    states = _states(reading, tokens)
    trained = int(last.cost["trainable_parameters"])
    state_bytes = states.get("states_bytes", 0)
    return Forecast(
        row=cell.row.label,
        fixed_seconds=last_two([(run.notes, run.fixed) for run in runs], notes)
        + first_time_seconds(runs),
        phases=tuple(
            Phase(
                epochs,
                work.epoch_seconds(number),
                last_two([(run.notes, run.between_seconds(number)) for run in runs], notes),
            )
            for number, epochs in enumerate(_epochs(cell, model))
        ),
        **states,
        held_bytes=last.cost["held_memory_bytes"],
        peak_bytes=_peak(runs, notes, state_bytes, footprint, work),
        bundle_bytes=round(last_two([(run.notes, run.cost["disk_bytes"]) for run in runs], notes)),
        checkpoint_bytes=CHECKPOINT_BYTES * trained if runs[-1].phases else 0,
        economies=tuple(last.cost["economies"]),
    )


def last_two(points: Sequence[tuple[float, float]], at: float) -> float:
    """Value of the line through the last two points; it never falls, nor starts below zero."""
    (x, y), *before = points[::-1]
    if at <= x or not before:
        return y
    x0, y0 = before[0]
    slope = min(max(0.0, (y - y0) / (x - x0)), y / x)
    return y + slope * (at - x)


def first_time_seconds(runs: Sequence[Run]) -> float:
    """Seconds of what a process does once, such as loading a library.

    The first run of a row has them, the later ones have not. The study, whose rows come in the
    same order, will spend them in the same cell.
    """
    first, *later = runs
    if not later:
        return 0.0
    usual = later[0].seconds
    if len(later) > 1:
        slope = (later[1].seconds - usual) / (later[1].notes - later[0].notes)
        usual = max(0.0, usual - max(0.0, slope) * (later[0].notes - first.notes))
    return max(0.0, first.seconds - usual)


def _epochs(cell: Cell, model: Model) -> list[int]:
    """Epochs of each training of a fit, of a model that was fitted with fewer."""
    asked = copy(model)
    for name in model.epoch_settings:
        setattr(asked, name, cell.resolved[name])
    return asked.planned_epochs()


def _states(reading: Reading | None, tokens: int) -> dict[str, Any]:
    if reading is None:
        return {}
    return {
        "states": reading.key,
        "states_seconds": reading.load_seconds + tokens / reading.tokens_per_second,
        "states_bytes": tokens * reading.width * STATE_BYTES,
        "states_peak_bytes": reading.peak(tokens),
    }


def _peak(
    runs: Sequence[Run], notes: int, state_bytes: int, footprint: Footprint | None, work: "_Work"
) -> int:
    """Peak of the last run, grown to all notes and to their longest batch."""
    # Of mapped states, so much is resident at most.
    most = notes if not state_bytes else notes * min(1.0, HELD_BYTES / state_bytes)
    more = [
        (run.notes, run.cost["peak_memory_bytes"] - run.cost["held_memory_bytes"]) for run in runs
    ]
    longest = 0.0
    if footprint is not None and footprint.layers:
        # Layers run on so many padded tokens at once, however many notes there are to score.
        last = runs[-1]
        scored = (last.notes - last.train) / 2 * float(np.mean(work.seen))  # in the larger part
        most = min(most, last.notes * max(1.0, Economy.batch_tokens / scored))
    if footprint is not None:
        longest = footprint.sequence / footprint.longest * max(0, work.largest - work.largest_seen)
    return round(runs[-1].cost["held_memory_bytes"] + last_two(more, most) + longest)


class _Work:
    """The steps of an epoch: those that were seen, and those of all training notes.

    Parameters
    ----------
    prober : Prober
    cell : Cell
    model : fitted model
    run : Run
    """

    def __init__(self, prober: Prober, cell: Cell, model: Any, run: Run) -> None:
        self.run = run
        self.batch = int(cell.resolved.get("batch_size", 1))
        self.seed = cell.seed
        self.tokenizer = model.tokenizer
        seen = np.ones(run.train, dtype=np.int64)
        every = np.ones(prober.train, dtype=np.int64)
        if self.tokenizer is not None and model.trains_on_tokens:
            seen = prober.lengths_of(self.tokenizer, run.rows, model)
            every = prober.lengths(self.tokenizer, model)["train"]
        self.seen = seen
        padded = self._padded(every, 0)
        share = prober.train / len(every)  # of very many notes, some were looked at
        self.steps = len(padded) * share
        self.tokens = float(padded.sum()) * share
        self.largest = int(padded.max())
        self.largest_seen = int(self._padded(seen, 0).max())

    def _padded(self, lengths: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """Padded tokens of each step."""
        batches = epoch_batches(lengths, self.batch, self.seed, epoch)
        return np.array([len(batch) * lengths[batch].max() for batch in batches])

    def epoch_seconds(self, phase: int) -> float:
        """Seconds of the steps of an epoch over all training notes."""
        # The last epoch alone: before, the libraries got ready for each new shape of a batch.
        measured = self.run.step_seconds(phase)
        seconds = np.asarray(measured[-1])
        padded = self._padded(self.seen, len(measured) - 1)[1:]
        if not len(seconds):  # one step an epoch: what lies between two epochs is all there is
            return 0.0
        # Seconds are so many a step and so many a token, neither below zero.
        (a_step, a_token), _ = nnls(np.column_stack([np.ones(len(padded)), padded]), seconds)
        return float(a_step * self.steps + a_token * self.tokens)
