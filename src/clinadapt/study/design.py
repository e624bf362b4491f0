"""Study files: TOML whose lists are axes, expanded into configurations and runs."""

import difflib
import hashlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Interval, Len, MinLen
from pydantic import AfterValidator, BaseModel, ConfigDict, Strict, ValidationError
from pydantic_core import PydanticCustomError

from clinadapt.core import old_names
from clinadapt.core import param_validation as checking
from clinadapt.core.errors import InputError
from clinadapt.data.levels import AGGREGATIONS, Aggregation, GroupLabel, Level
from clinadapt.features.encoders.catalog import find_local
from clinadapt.features.tokenization import Truncation
from clinadapt.models import registry
from clinadapt.study.checks.registry import unknown_codes
from clinadapt.study.study_file import read_study_file

if TYPE_CHECKING:
    from clinadapt.models.contract import Model

AXES = ("model", "encoder", "adapter", "placement", "tuned_layers")
MOST_RUNS = 10_000  # of a study; who asks for more has multiplied more axes than they thought


def _each_once(values: list[Any]) -> list[Any]:
    # Shares are compared as the names of their folders spell them.
    named = [value if isinstance(value, str) else f"{value:g}" for value in values]
    twice = [name for name in dict.fromkeys(named) if named.count(name) > 1]
    if twice:
        message = "expected each value once, these are given twice: {twice}"
        raise PydanticCustomError("each_once", message, {"twice": ", ".join(twice)})
    return values


def _codes_of_checks(codes: list[str]) -> list[str]:
    if problem := unknown_codes(codes):
        raise PydanticCustomError("codes_of_checks", "{problem}", {"problem": problem})
    return codes


Whole = Annotated[int, Strict()]
Seed = Annotated[Whole, Interval(ge=0, lt=2**32)]


class Curve(BaseModel):
    """Smaller amounts of labelled notes on which every configuration is fitted too.

    Attributes
    ----------
    shares : list of float
        Shares of the training and validation notes; whole patients are drawn at random.
    draws : int
        Number of random draws of each share.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    shares: Annotated[
        list[Annotated[float, Interval(gt=0, lt=1)]], Len(1, 100), AfterValidator(_each_once)
    ]
    draws: Annotated[Whole, Interval(ge=1, le=1000)] = 3


class Design(BaseModel):
    """Content of a study file.

    Attributes
    ----------
    name : str
    configurations : list of dict
        ``model`` and its settings; a list is an axis, and every combination is a configuration.
    seeds : list of int
        Every configuration is fitted once per seed, or once if its model has no randomness.
    metric : str, optional
        Metric that thresholds, early stopping and the ranking optimise.
    max_tokens, truncation
        Defaults for configurations that do not set their own.
    test_fraction, validation_fraction, split_seed
        See `clinadapt.data.split.make_split`.
    folds : int or "auto"
        Folds of the notes outside the test part, all predicted by models that did not see them:
        these predictions rank the configurations and choose thresholds. 1 for one validation part;
        "auto" is 5 where that costs little, see `clinadapt.study.fold_choice`.
    nested : bool
        Whether every note is a test note in turn, in an outer division: for few notes.
    resamples : int
        Number of bootstrap resamples.
    margin : float
        Largest negligible difference of the metric: a cheaper configuration may score this much
        less and still be recommended.
    curve : Curve, optional
        Smaller amounts of labelled notes, for learning curves.
    level : {"note", "group"}
        What is classified and scored: notes, or patients with all their notes.
    group_label : "any", optional
        Label of a patient whose notes differ, see `clinadapt.data.patients.patient_labels`.
    aggregation : list of {"mean", "maximum", "noisy-or"}
        How a patient's probability may come from those of the notes; each run takes the one that is
        best on its validation patients.
    ignore : list of str
        Codes of checks to leave out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str
    configurations: Annotated[list[dict[str, Any]], MinLen(1)]
    seeds: Annotated[list[Seed], MinLen(1), AfterValidator(_each_once)] = [0]
    metric: str | None = None
    max_tokens: Annotated[Whole, Ge(4)] | None = None
    truncation: Truncation | None = None
    test_fraction: Annotated[float, Interval(gt=0, lt=1)] = 0.3
    validation_fraction: Annotated[float, Interval(gt=0, lt=1)] = 0.15
    split_seed: Seed = 0
    folds: Annotated[Whole, Interval(ge=1, le=100)] | Literal["auto"] = "auto"
    nested: Annotated[bool, Strict()] = False
    resamples: Annotated[Whole, Interval(ge=100, le=100_000)] = 1000
    margin: Annotated[float, Interval(ge=0, lt=1)] = 0.01
    curve: Curve | None = None
    level: Level = "note"
    group_label: GroupLabel | None = None
    aggregation: Annotated[list[Aggregation], MinLen(1), AfterValidator(_each_once)] = list(
        AGGREGATIONS
    )
    ignore: Annotated[list[str], AfterValidator(_codes_of_checks)] = []


@dataclass(frozen=True, eq=False)
class Configuration:
    """A line of the leaderboard: a model with its settings, apart from the seed."""

    model: str
    settings: Mapping[str, Any]
    label: str

    @property
    def cls(self) -> "type[Model]":
        """The model's class."""
        return registry.models()[self.model].cls

    @property
    def axes(self) -> dict[str, Any]:
        """The configuration's value on each axis of comparison, None where it does not apply."""
        # A stacked model is compared by its encoder part.
        settings = registry.build(self.model, self.settings).parts()[-1].get_params()
        fixed = registry.models()[self.model].fixed
        axes: dict[str, Any] = {"model": self.model}
        axes |= {key: None if key in fixed else settings.get(key) for key in AXES[1:]}
        if axes["adapter"] == "none":
            axes["placement"] = None
        return axes


@dataclass(frozen=True, eq=False)
class Run:
    """A configuration with a seed: one model to fit.

    Attributes
    ----------
    configuration : Configuration
    seed : int
    """

    configuration: Configuration
    seed: int

    def build(self) -> Any:
        """Return the unfitted model."""
        return registry.build(self.configuration.model, self.resolved)

    @property
    def resolved(self) -> dict[str, Any]:
        """All settings, defaults included."""
        given = dict(self.configuration.settings)
        if registry.takes(self.configuration.model, "seed"):
            given["seed"] = self.seed
        return registry.settings_of(registry.build(self.configuration.model, given))

    @property
    def start(self) -> tuple[str, str] | None:
        """Kind ("encoder" or "vectors") and name of the files that the model starts from."""
        return self.build().starting_files()

    @property
    def start_fingerprint(self) -> str | None:
        """Hash of these files; None if there are none, or if they are not on this machine."""
        if self.start is None:
            return None
        kind, name = self.start
        if kind == "vectors":
            from clinadapt.pretraining.subword_vectors import Vectors

            return Vectors.of(name).fingerprint
        from clinadapt.features.encoders.pretrained import PretrainedEncoder

        folder = find_local(name)
        return None if folder is None else PretrainedEncoder(folder).fingerprint


def identity(*parts: Any) -> str:
    """Return a short hash of JSON-like values."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_design(source: str | Path | Mapping[str, Any]) -> Design:
    """Return the design of a built-in study, a TOML file or a mapping.

    Raises
    ------
    InputError
        The design is not valid; lists every problem.
    """
    if isinstance(source, Mapping):
        content, origin = dict(source), "the study"
    else:
        content, origin = read_study_file(source)
    try:
        return Design.model_validate(old_names.design(content, origin))
    except ValidationError as error:
        raise InputError(
            [f"{origin}: {_sentence(dict(detail))}" for detail in error.errors()]
        ) from None


def _sentence(detail: dict[str, Any]) -> str:
    place = ".".join(map(str, detail["loc"]))
    if detail["type"] != "extra_forbidden":
        return f"{place}: {detail['msg']}"
    known = list((Curve if detail["loc"][0] == "curve" else Design).model_fields)
    near = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return f"{place}: unknown key; {hint}"


def expand(design: Design, encoders: Sequence[str] = ()) -> list[Run]:
    """Return the runs of a design, the seeds of a configuration next to each other.

    Parameters
    ----------
    design : Design
    encoders : sequence of str
        Encoders to use instead of those that the design names.

    Raises
    ------
    InputError
        Some configuration is not valid; lists every problem of every configuration.
    """
    _refuse_too_many(design, encoders)
    problems: list[str] = []
    configurations: dict[str, Configuration] = {}
    for number, entry in enumerate(design.configurations, start=1):
        if "model" not in entry:
            problems.append(
                f"configuration {number}: 'model' is missing; "
                f"expected one of {', '.join(registry.models())}"
            )
            continue
        named = entry["model"] if isinstance(entry["model"], list) else [entry["model"]]
        if not all(isinstance(name, str) for name in named):
            problems.append(f"configuration {number}: 'model' has to be a name, or a list of names")
            continue
        problems += [
            f"configuration {number}: {key!r} is an empty list; expected at least one value"
            for key, value in entry.items()
            if value == []
        ]
        if "seed" in entry:
            problems.append(
                f"configuration {number}: 'seed' is not a setting of a configuration; "
                "set 'seeds' for the whole study"
            )
        for model, settings in _combinations(entry, design, encoders):
            invalid = registry.problems(model, settings)
            invalid = invalid or registry.file_problems(model, settings)
            if (
                not invalid
                and design.level == "note"
                and registry.models()[model].cls.level != "note"
            ):
                invalid = [f'{model} classifies patients: set level = "group" (--level group)']
            problems += [f"configuration {number}: {problem}" for problem in invalid]
            if not invalid:
                configuration = Configuration(model, settings, _label(model, settings, design))
                resolved = registry.settings_of(registry.build(model, settings))
                configurations.setdefault(identity(model, resolved), configuration)
    if problems:
        raise InputError(list(dict.fromkeys(problems)))
    return [
        Run(configuration, seed)
        for configuration in configurations.values()
        for seed in (
            design.seeds if registry.takes(configuration.model, "seed") else design.seeds[:1]
        )
    ]


def _refuse_too_many(design: Design, encoders: Sequence[str]) -> None:
    """Raise if a design has more runs than a study may have; nothing is expanded to count them."""
    each = [
        math.prod(len(value) for value in entry.values() if isinstance(value, list))
        for entry in design.configurations
    ]
    refits = 0 if design.curve is None else len(design.curve.shares) * design.curve.draws
    runs = sum(each) * max(1, len(encoders)) * len(design.seeds) * (1 + refits)
    if runs > MOST_RUNS:
        largest = max(range(len(each)), key=each.__getitem__)
        raise InputError(
            f"the study has up to {runs:,} runs, and at most {MOST_RUNS:,} are possible: axes "
            f"multiply, and configuration {largest + 1} alone stands for {each[largest]:,} "
            "configurations. Shorten its lists, or split it into several studies"
        )


def _combinations(
    entry: Mapping[str, Any], design: Design, encoders: Sequence[str]
) -> list[tuple[str, dict[str, Any]]]:
    """Return every combination of one value per axis, with the study's defaults filled in."""
    axes = {key: value if isinstance(value, list) else [value] for key, value in entry.items()}
    combinations = []
    for choice in itertools.product(*axes.values()):
        settings = dict(zip(axes, choice, strict=True))
        model = settings.pop("model")
        if model in registry.models():
            names = checking.setting_names(registry.models()[model].cls)
            shared = {"max_tokens": design.max_tokens, "truncation": design.truncation}
            for key, value in shared.items():
                if value is not None and key in names:
                    settings.setdefault(key, value)
        combinations.append((model, settings))
    if not encoders:
        return combinations
    return [
        (model, {**settings, "encoder": name} if registry.takes(model, "encoder") else settings)
        for model, settings in combinations
        for name in (encoders if registry.takes(model, "encoder") else [""])
    ]


def _label(model: str, settings: Mapping[str, Any], design: Design) -> str:
    """Describe a configuration in words: its title, then every other setting that was given."""
    shown = dict(settings)
    for key in ("max_tokens", "truncation"):  # shared by all: not worth showing
        if key in shown and shown[key] == getattr(design, key):
            del shown[key]
    title = registry.build(model, settings).title(shown) or model
    rest = [f"{key}={value}" for key, value in sorted(shown.items())]
    return f"{title} ({', '.join(rest)})" if rest else title
