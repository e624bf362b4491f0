"""What a configuration will cost: short runs on some notes, extrapolated to all of them.

Time is what does not depend on the epochs, and for each epoch its steps (by their padded tokens)
and the scoring of validation notes after it. Memory is what the trials held, plus what is counted
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
from clinadapt.features.feature_cache import HELD_BYTES
from clinadapt.models import registry
from clinadapt.models.contract import Model
from clinadapt.models.load import load
from clinadapt.neural.training.loop import epoch_batches
from clinadapt.neural.training.memory_budget import Footprint, MemorySavings
from clinadapt.study import result_files
from clinadapt.study.design import Configuration, Run
from clinadapt.study.planning.trial_runs import Prober, Reading, Trial

FEATURE_BYTES = 2  # of a number in a cached state
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
    """What a run of a configuration is predicted to cost.

    Attributes
    ----------
    configuration : str
    reason : str, optional
        Why the configuration cannot run; the rest is then zero.
    fits : bool
        False if that reason is the memory limit.
    fixed_seconds : float
        Whatever the epochs: tokens, features, validation and test scores, the bundle.
    phases : tuple of Phase
    features : str, optional
        Of cached features; the first run that needs them computes them.
    features_seconds, features_bytes, features_peak_bytes
        Of computing them: seconds, bytes on disk, largest memory.
    held_bytes, peak_bytes : int
        What the process held before the run, and at most.
    bundle_bytes, checkpoint_bytes : int
        On disk: of the model, and while it is trained.
    memory_savings : tuple of str
        What is given up for the memory limit.
    """

    configuration: str
    reason: str | None = None
    fits: bool = True
    fixed_seconds: float = 0.0
    phases: tuple[Phase, ...] = ()
    features: str | None = None
    features_seconds: float = 0.0
    features_bytes: int = 0
    features_peak_bytes: int = 0
    held_bytes: int = 0
    peak_bytes: int = 0
    bundle_bytes: int = 0
    checkpoint_bytes: int = 0
    memory_savings: tuple[str, ...] = ()

    @property
    def epochs(self) -> int:
        """Epochs of the last training, the one that may stop early; 0 without any."""
        return self.phases[-1].epochs if self.phases else 0

    def named(self, configuration: str) -> "Forecast":
        """The same of another configuration."""
        return replace(self, configuration=configuration)

    def seconds(self, computes_features: bool, epochs: int | None = None) -> float:
        """Of a run.

        Parameters
        ----------
        computes_features : bool
        epochs : int, optional
            Of the last training; default all.
        """
        training = sum(phase.seconds(phase.epochs) for phase in self.phases[:-1])
        if self.phases:
            training += self.phases[-1].seconds(self.epochs if epochs is None else epochs)
        return self.fixed_seconds + training + self.features_seconds * computes_features

    def peak(self, computes_features: bool, held: int | None = None) -> int:
        """Bytes at the worst moment.

        Parameters
        ----------
        computes_features : bool
        held : int, optional
            What the process holds before the run; default what it held before the probe.
        """
        peak = max(self.peak_bytes, self.features_peak_bytes if computes_features else 0)
        return peak if held is None else peak + held - self.held_bytes


def forecast(prober: Prober, run: Run) -> Forecast:
    """Trial a run on some notes and extrapolate; a configuration that cannot trial says why."""
    try:
        model = run.build()
        parts = model.parts()
        if len(parts) == 1:
            return _forecast(prober, run)
        forecasts = (_forecast(prober, _part(run, part)) for part in parts)
        return reduce(together, forecasts).named(run.configuration.label)
    except ClinadaptError as error:
        fits = not isinstance(error, LimitError)
        return Forecast(run.configuration.label, reason=str(error), fits=fits)
    except Exception as error:  # its message may quote a note
        return Forecast(
            run.configuration.label, reason=f"{type(error).__name__} on a few of the notes"
        )


def _part(run: Run, model: Any) -> Run:
    """A part of a run's model as a run of its own."""
    return Run(
        Configuration(
            registry.name_of(model), registry.settings_of(model), run.configuration.label
        ),
        run.seed,
    )


def together(sparse: Forecast, encoder: Forecast) -> Forecast:
    """Two models fitted one after the other and kept together, as one configuration.

    Parameters
    ----------
    sparse : Forecast
        Without epochs, features or memory_savings of its own.
    encoder : Forecast
    """
    beside = sparse.peak_bytes - sparse.held_bytes
    return replace(
        encoder,
        fixed_seconds=sparse.fixed_seconds + encoder.fixed_seconds,
        peak_bytes=encoder.peak_bytes + beside,
        bundle_bytes=sparse.bundle_bytes + encoder.bundle_bytes,
    )


def _forecast(prober: Prober, run: Run) -> Forecast:
    unfitted = run.build()
    reading = None
    if unfitted.reads_encoder():
        reading = prober.reading(run, unfitted)
    trials = prober.trials(run, reading.train if reading else None)
    model = load(prober.folder / "run" / result_files.BUNDLE).model_
    last, notes = trials[-1], prober.notes
    footprint = model.footprint(pick_device(getattr(model, "device", "cpu")))
    work = _Work(prober, run, model, last)
    tokens = prober.tokens(work.tokenizer, model) if work.tokenizer else 0
    features = _features(reading, tokens)
    trained = int(last.cost["trainable_parameters"])
    feature_bytes = features.get("features_bytes", 0)
    return Forecast(
        configuration=run.configuration.label,
        fixed_seconds=last_two([(trial.notes, trial.fixed) for trial in trials], notes)
        + first_time_seconds(trials),
        phases=tuple(
            Phase(
                epochs,
                work.epoch_seconds(number),
                last_two([(trial.notes, trial.between_seconds(number)) for trial in trials], notes),
            )
            for number, epochs in enumerate(_epochs(run, model))
        ),
        **features,
        held_bytes=last.cost["held_memory_bytes"],
        peak_bytes=_peak(trials, notes, feature_bytes, footprint, work),
        bundle_bytes=round(
            last_two([(trial.notes, trial.cost["disk_bytes"]) for trial in trials], notes)
        ),
        checkpoint_bytes=CHECKPOINT_BYTES * trained if trials[-1].phases else 0,
        memory_savings=tuple(last.cost["memory_savings"]),
    )


def last_two(points: Sequence[tuple[float, float]], at: float) -> float:
    """Value of the line through the last two points; it never falls, nor starts below zero."""
    (x, y), *before = points[::-1]
    if at <= x or not before:
        return y
    x0, y0 = before[0]
    slope = min(max(0.0, (y - y0) / (x - x0)), y / x)
    return y + slope * (at - x)


def first_time_seconds(trials: Sequence[Trial]) -> float:
    """Seconds of what a process does once, such as loading a library.

    The first trial of a configuration has them, the later ones have not. The study, whose configurations come in the
    same order, will spend them in the same run.
    """
    first, *later = trials
    if not later:
        return 0.0
    usual = later[0].seconds
    if len(later) > 1:
        slope = (later[1].seconds - usual) / (later[1].notes - later[0].notes)
        usual = max(0.0, usual - max(0.0, slope) * (later[0].notes - first.notes))
    return max(0.0, first.seconds - usual)


def _epochs(run: Run, model: Model) -> list[int]:
    """Epochs of each training of a fit, of a model that was fitted with fewer."""
    asked = copy(model)
    for name in model.epoch_settings:
        setattr(asked, name, run.resolved[name])
    return asked.planned_epochs()


def _features(reading: Reading | None, tokens: int) -> dict[str, Any]:
    if reading is None:
        return {}
    return {
        "features": reading.key,
        "features_seconds": reading.load_seconds + tokens / reading.tokens_per_second,
        "features_bytes": tokens * reading.width * FEATURE_BYTES,
        "features_peak_bytes": reading.peak(tokens),
    }


def _peak(
    trials: Sequence[Trial],
    notes: int,
    feature_bytes: int,
    footprint: Footprint | None,
    work: "_Work",
) -> int:
    """Peak of the last trial, grown to all notes and to their longest batch."""
    # Of mapped features, so much is resident at most.
    most = notes if not feature_bytes else notes * min(1.0, HELD_BYTES / feature_bytes)
    more = [
        (trial.notes, trial.cost["peak_memory_bytes"] - trial.cost["held_memory_bytes"])
        for trial in trials
    ]
    longest = 0.0
    if footprint is not None and footprint.layers:
        # Layers trial on so many padded tokens at once, however many notes there are to score.
        last = trials[-1]
        scored = (last.notes - last.train) / 2 * float(np.mean(work.seen))  # in the larger part
        most = min(most, last.notes * max(1.0, MemorySavings.batch_tokens / scored))
    if footprint is not None:
        longest = footprint.sequence / footprint.longest * max(0, work.largest - work.largest_seen)
    return round(trials[-1].cost["held_memory_bytes"] + last_two(more, most) + longest)


class _Work:
    """The steps of an epoch: those that were seen, and those of all training notes.

    Parameters
    ----------
    prober : Prober
    run : Run
    model : fitted model
    trial : Trial
    """

    def __init__(self, prober: Prober, run: Run, model: Any, trial: Trial) -> None:
        self.trial = trial
        self.batch = int(run.resolved.get("batch_size", 1))
        self.seed = run.seed
        self.tokenizer = model.tokenizer
        seen = np.ones(trial.train, dtype=np.int64)
        every = np.ones(prober.train, dtype=np.int64)
        if self.tokenizer is not None and model.trains_on_tokens:
            seen = prober.lengths_of(self.tokenizer, trial.rows, model)
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
        measured = self.trial.step_seconds(phase)
        seconds = np.asarray(measured[-1])
        padded = self._padded(self.seen, len(measured) - 1)[1:]
        if not len(seconds):  # one step an epoch: what lies between two epochs is all there is
            return 0.0
        # Seconds are so many a step and so many a token, neither below zero.
        (a_step, a_token), _ = nnls(np.column_stack([np.ones(len(padded)), padded]), seconds)
        return float(a_step * self.steps + a_token * self.tokens)
