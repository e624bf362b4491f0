"""A study as data: a TOML file whose lists are axes, expanded into configurations and runs."""

import hashlib
import itertools
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Interval, MinLen
from pydantic import BaseModel, ConfigDict, ValidationError

from clinadapt.core import old_names
from clinadapt.core import param_validation as checking
from clinadapt.core.errors import InputError
from clinadapt.features.encoders.catalog import find_local
from clinadapt.features.encoders.pretrained import PretrainedEncoder
from clinadapt.features.tokenization import Truncation
from clinadapt.models import registry
from clinadapt.models.contract import Model
from clinadapt.pretraining.subword_vectors import Vectors

BUILT_IN = Path(__file__).parent / "designs"
AXES = ("model", "encoder", "adapter", "placement", "tuned_layers")


class Curve(BaseModel):
    """Smaller amounts of labelled notes that every configuration is fitted on as well.

    Attributes
    ----------
    shares : list of float
        Of the training and validation notes; whole patients, drawn at random.
    draws : int
        Random draws of each share.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shares: Annotated[list[Annotated[float, Interval(gt=0, lt=1)]], MinLen(1)]
    draws: Annotated[int, Ge(1)] = 3


class Design(BaseModel):
    """What a study file says.

    Attributes
    ----------
    name : str
    configurations : list of dict
        ``model`` and its settings; a list is an axis, and axes multiply.
    seeds : list of int
        Every configuration is fitted once a seed (once in all if its model has no randomness).
    metric : str, optional
        What thresholds, early stopping and the ranking aim at.
    max_tokens, truncation
        For every configuration that does not set its own.
    test_fraction, validation_fraction, split_seed
        See `clinadapt.data.split.make_split`.
    resamples : int
        Of the bootstrap.
    margin : float
        Difference of the metric that does not matter: a cheaper configuration may score so much less.
    curve : Curve, optional
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    configurations: Annotated[list[dict[str, Any]], MinLen(1)]
    seeds: Annotated[list[int], MinLen(1)] = [0]
    metric: str | None = None
    max_tokens: Annotated[int, Ge(4)] | None = None
    truncation: Truncation | None = None
    test_fraction: Annotated[float, Interval(gt=0, lt=1)] = 0.3
    validation_fraction: Annotated[float, Interval(gt=0, lt=1)] = 0.15
    split_seed: int = 0
    resamples: Annotated[int, Ge(100)] = 1000
    margin: Annotated[float, Ge(0)] = 0.01
    curve: Curve | None = None


@dataclass(frozen=True, eq=False)
class Configuration:
    """A line of the leaderboard: a model with its settings, apart from the seed."""

    model: str
    settings: Mapping[str, Any]
    label: str

    @property
    def cls(self) -> type[Model]:
        """Class of the model."""
        return registry.models()[self.model].cls

    @property
    def axes(self) -> dict[str, Any]:
        """Return the configuration's place in the comparison, null where a notion does not apply."""
        # A stacked model stands where its encoder does.
        known = registry.build(self.model, self.settings).parts()[-1].get_params()
        fixed = registry.models()[self.model].fixed
        described: dict[str, Any] = {"model": self.model}
        described |= {key: None if key in fixed else known.get(key) for key in AXES[1:]}
        if described["adapter"] == "none":
            described["placement"] = None
        return described


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
        """Every setting, defaults included."""
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
        """Hash of these files; None without any, or where they are not here."""
        if self.start is None:
            return None
        kind, name = self.start
        if kind == "vectors":
            return Vectors.of(name).fingerprint
        folder = find_local(name)
        return None if folder is None else PretrainedEncoder(folder).fingerprint


def identity(*parts: Any) -> str:
    """Short hash of JSON-like values."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_design(source: str | Path | Mapping[str, Any]) -> Design:
    """Design of a built-in study's name, a TOML file, or a mapping.

    Raises
    ------
    InputError
        With everything that is wrong with it.
    """
    if isinstance(source, Mapping):
        content, origin = dict(source), "the study"
    else:
        path = BUILT_IN / f"{source}.toml" if _is_name(source) else Path(source)
        if not path.is_file():
            names = ", ".join(sorted(file.stem for file in BUILT_IN.glob("*.toml")))
            raise InputError(f"no study {source!r}: expected one of {names}, or a TOML file")
        try:
            content, origin = tomllib.loads(path.read_text(encoding="utf-8")), str(path)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{path} is not valid TOML: {error}") from None
    try:
        return Design.model_validate(old_names.design(content, origin))
    except ValidationError as error:
        raise InputError(
            [
                f"{origin}: {'.'.join(map(str, detail['loc']))}: {detail['msg']}"
                for detail in error.errors()
            ]
        ) from None


def _is_name(source: str | Path) -> bool:
    return isinstance(source, str) and "/" not in source and not source.endswith(".toml")


def expand(design: Design, encoders: Sequence[str] = ()) -> list[Run]:
    """Runs of a design, the seeds of a configuration next to each other.

    Parameters
    ----------
    design : Design
    encoders : sequence of str
        Take the place of the encoders that the design names.

    Raises
    ------
    InputError
        With every problem of every configuration.
    """
    problems: list[str] = []
    configurations: dict[str, Configuration] = {}
    for number, entry in enumerate(design.configurations, start=1):
        if "model" not in entry:
            problems.append(
                f"configuration {number}: no model; known: {', '.join(registry.models())}"
            )
            continue
        if "seed" in entry:
            problems.append(
                f"configuration {number}: seeds are set for the whole study, in 'seeds'"
            )
        for model, settings in _combinations(entry, design, encoders):
            found = registry.problems(model, settings)
            found = found or registry.file_problems(model, settings)
            problems += [f"configuration {number}: {problem}" for problem in found]
            if not found:
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


def _combinations(
    entry: Mapping[str, Any], design: Design, encoders: Sequence[str]
) -> list[tuple[str, dict[str, Any]]]:
    """Every choice of one value an axis of a configuration, shared settings filled in."""
    axes = {key: value if isinstance(value, list) else [value] for key, value in entry.items()}
    found = []
    for choice in itertools.product(*axes.values()):
        settings = dict(zip(axes, choice, strict=True))
        model = settings.pop("model")
        if model in registry.models():
            names = checking.setting_names(registry.models()[model].cls)
            shared = {"max_tokens": design.max_tokens, "truncation": design.truncation}
            for key, value in shared.items():
                if value is not None and key in names:
                    settings.setdefault(key, value)
        found.append((model, settings))
    if not encoders:
        return found
    return [
        (model, {**settings, "encoder": name} if registry.takes(model, "encoder") else settings)
        for model, settings in found
        for name in (encoders if registry.takes(model, "encoder") else [""])
    ]


def _label(model: str, settings: Mapping[str, Any], design: Design) -> str:
    """Return the configuration in words: what it is, then every other setting that is not the default."""
    shown = dict(settings)
    for key in ("max_tokens", "truncation"):  # what all configurations share goes without saying
        if key in shown and shown[key] == getattr(design, key):
            del shown[key]
    title = registry.build(model, settings).title(shown) or model
    rest = [f"{key}={value}" for key, value in sorted(shown.items())]
    return f"{title} ({', '.join(rest)})" if rest else title
