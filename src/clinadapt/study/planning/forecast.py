"""Forecast the cost of a configuration: trials on some notes, extrapolated to all notes.

Time is a part that does not depend on the epochs and, for each epoch, its steps (by their padded
tokens) and the scoring of the validation notes after it. Memory is what the trials used, plus a
computed addition for the longest batch. Early stopping cannot be predicted: times are for all
epochs.
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
from clinadapt.core.errors import ClinadaptError, LimitError, reason_of
from clinadapt.core.messages import Message
from clinadapt.features.feature_cache import HELD_BYTES
from clinadapt.models import registry
from clinadapt.models.contract import Model
from clinadapt.models.load import load
from clinadapt.neural.training.loop import epoch_batches
from clinadapt.neural.training.memory_budget import Footprint, MemorySavings
from clinadapt.study import result_files
from clinadapt.study.design import Configuration, Run
from clinadapt.study.planning.trial_runs import Prober, Reading, Trial

FEATURE_BYTES = 2  # per number in a cached feature
# Per trained parameter: the checkpoint holds weights, two moments and the best epoch's weights.
CHECKPOINT_BYTES = 16


@dataclass(frozen=True)
class Phase:
    """One training stage of a fit.

    Attributes
    ----------
    epochs : int
        Largest number of epochs.
    epoch_seconds : float
        Seconds of an epoch's steps.
    between_seconds : float
        Seconds between two epochs, when validation notes are scored and weights are saved.
    """

    epochs: int
    epoch_seconds: float
    between_seconds: float

    def seconds(self, epochs: int) -> float:
        """Return the seconds of a number of epochs."""
        return epochs * self.epoch_seconds + max(0, epochs - 1) * self.between_seconds


@dataclass(frozen=True)
class Forecast:
    """Predicted cost of a run of a configuration.

    Attributes
    ----------
    configuration : str
    reason : str, optional
        Why the configuration cannot run; the rest is then zero.
    fits : bool
        False if that reason is the memory limit.
    fixed_seconds : float
        Seconds that do not depend on the epochs: tokens, reading features, validation and test
        scores, the bundle.
    phases : tuple of Phase
        Training stages.
    features : str, optional
        Key of the cached features; the first run that needs them computes them.
    features_seconds, features_bytes, features_peak_bytes
        Seconds, bytes on disk and peak memory of computing them.
    held_bytes, peak_bytes : int
        Memory of the process before the run, and its peak.
    bundle_bytes, checkpoint_bytes : int
        Bytes on disk of the model, and of the checkpoint during training.
    memory_savings : tuple of str
        Measures taken to stay within the memory limit.
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
        """Epochs of the last training stage, which may stop early; 0 if there is none."""
        return self.phases[-1].epochs if self.phases else 0

    def named(self, configuration: str) -> "Forecast":
        """Return the same forecast for another configuration."""
        return replace(self, configuration=configuration)

    def repeated(self, fits: float) -> "Forecast":
        """Return the forecast of a run that fits its model on folds too.

        Parameters
        ----------
        fits : float
            See `clinadapt.study.material.Material.fits`.
        """
        phases = (
            replace(
                phase,
                epoch_seconds=fits * phase.epoch_seconds,
                between_seconds=fits * phase.between_seconds,
            )
            for phase in self.phases
        )
        return replace(self, fixed_seconds=fits * self.fixed_seconds, phases=tuple(phases))

    def seconds(self, computes_features: bool, epochs: int | None = None) -> float:
        """Return the seconds of a run.

        Parameters
        ----------
        computes_features : bool
            Whether the run computes the cached features.
        epochs : int, optional
            Epochs of the last training stage; default all.
        """
        training = sum(phase.seconds(phase.epochs) for phase in self.phases[:-1])
        if self.phases:
            training += self.phases[-1].seconds(self.epochs if epochs is None else epochs)
        return self.fixed_seconds + training + self.features_seconds * computes_features

    def peak(self, computes_features: bool, held: int | None = None) -> int:
        """Return the peak memory in bytes.

        Parameters
        ----------
        computes_features : bool
            Whether the run computes the cached features.
        held : int, optional
            Bytes that the process holds before the run; default those before the trial.
        """
        peak = max(self.peak_bytes, self.features_peak_bytes if computes_features else 0)
        return peak if held is None else peak + held - self.held_bytes


def forecast(prober: Prober, run: Run) -> Forecast:
    """Forecast a run from trials on some notes; a trial that fails becomes the reason."""
    try:
        model = run.build()
        parts = model.parts()
        if len(parts) == 1:
            return _forecast(prober, run)
        forecasts = (_forecast(prober, _part(run, part)) for part in parts)
        return reduce(together, forecasts).named(run.configuration.label)
    except ClinadaptError as error:
        fits = not isinstance(error, LimitError)
        return Forecast(run.configuration.label, reason=reason_of(error), fits=fits)
    except Exception as error:  # its message may quote a note
        return Forecast(
            run.configuration.label,
            reason=Message("{error} in a trial on a few of the notes", error=type(error).__name__),
        )


def _part(run: Run, model: Any) -> Run:
    """Return a part of a run's model as a run of its own."""
    return Run(
        Configuration(
            registry.name_of(model), registry.settings_of(model), run.configuration.label
        ),
        run.seed,
    )


def together(sparse: Forecast, encoder: Forecast) -> Forecast:
    """Combine the forecasts of two models that are fitted in turn and kept in memory together.

    Parameters
    ----------
    sparse : Forecast
        Forecast without epochs, features or memory savings.
    encoder : Forecast
    """
    added_bytes = sparse.peak_bytes - sparse.held_bytes
    return replace(
        encoder,
        fixed_seconds=sparse.fixed_seconds + encoder.fixed_seconds,
        peak_bytes=encoder.peak_bytes + added_bytes,
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
    """Extrapolate the line through the last two points; its slope and intercept are at least 0."""
    (x, y), *before = points[::-1]
    if at <= x or not before:
        return y
    x0, y0 = before[0]
    slope = min(max(0.0, (y - y0) / (x - x0)), y / x)
    return y + slope * (at - x)


def first_time_seconds(trials: Sequence[Trial]) -> float:
    """Estimate the seconds of work that a process does once, such as loading a library.

    Only the first trial of a configuration includes them. The study, which fits its configurations
    in the same order, spends them in the same run.
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
    """Return the full epochs of each training stage, given a model fitted with fewer."""
    full = copy(model)
    for name in model.epoch_settings:
        setattr(full, name, run.resolved[name])
    return full.planned_epochs()


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
    """Extrapolate the last trial's peak memory to all notes and to their longest batch."""
    # Only part of the memory-mapped features is resident at a time.
    most = notes if not feature_bytes else notes * min(1.0, HELD_BYTES / feature_bytes)
    more = [
        (trial.notes, trial.cost["peak_memory_bytes"] - trial.cost["held_memory_bytes"])
        for trial in trials
    ]
    longest = 0.0
    if footprint is not None and footprint.layers:
        # Layers score this many padded tokens at once, however many notes there are.
        last = trials[-1]
        scored = (last.notes - last.train) / 2 * float(np.mean(work.seen))  # in the larger part
        most = min(most, last.notes * max(1.0, MemorySavings.batch_tokens / scored))
    if footprint is not None:
        longest = footprint.sequence / footprint.longest * max(0, work.largest - work.largest_seen)
    return round(trials[-1].cost["held_memory_bytes"] + last_two(more, most) + longest)


class _Work:
    """Training steps of an epoch: those of a trial, and those with all training notes.

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
        share = prober.train / len(every)  # lengths may be those of a sample
        self.steps = len(padded) * share
        self.tokens = float(padded.sum()) * share
        self.largest = int(padded.max())
        self.largest_seen = int(self._padded(seen, 0).max())

    def _padded(self, lengths: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """Return the padded tokens of each step."""
        batches = epoch_batches(lengths, self.batch, self.seed, epoch)
        return np.array([len(batch) * lengths[batch].max() for batch in batches])

    def epoch_seconds(self, phase: int) -> float:
        """Return the seconds of an epoch's steps over all training notes."""
        # Only the last epoch: before, libraries were preparing for each new batch shape.
        measured = self.trial.step_seconds(phase)
        seconds = np.asarray(measured[-1])
        padded = self._padded(self.seen, len(measured) - 1)[1:]
        if not len(seconds):  # one step per epoch: its time is part of the gap between epochs
            return 0.0
        # Seconds per step and per token, both at least 0.
        (a_step, a_token), _ = nnls(np.column_stack([np.ones(len(padded)), padded]), seconds)
        return float(a_step * self.steps + a_token * self.tokens)
