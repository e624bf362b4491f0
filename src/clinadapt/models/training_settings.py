"""Settings shared by models trained by gradient descent, and by models that read tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Gt, Interval
from numpy.typing import NDArray

from clinadapt.features.readable_tokens import readable
from clinadapt.features.tokenization import Truncation
from clinadapt.models.contract import Model
from clinadapt.neural.training.loop import best_epoch
from clinadapt.neural.training.losses import ClassWeight
from clinadapt.neural.training.recipe import Recipe

Epochs = Annotated[int, Interval(ge=1, le=10_000)]  # a slip of the finger asks for more
Seed = Annotated[int, Ge(0)]


@dataclass(eq=False, repr=False, kw_only=True)
class TrainingSettings(Model):
    """A model trained by gradient descent.

    Parameters
    ----------
    batch_size : int
        Notes per step.
    learning_rate : float
    device : str
        "auto" is CUDA if available, else the CPU.
    seed : int
    """

    epoch_settings: ClassVar[tuple[str, ...]] = ("epochs",)

    batch_size: Annotated[int, Ge(1)] = 64
    learning_rate: Annotated[float, Gt(0)] = 1e-3
    device: str = "auto"
    seed: Seed = 0

    def recipe(self, **further: Any) -> Recipe:
        """Return the recipe of the training loop, with `further` settings of `Recipe`."""
        return Recipe(
            epochs=self.planned_epochs()[-1],
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            **{"seed": self.seed, **further},
        )


@dataclass(eq=False, repr=False, kw_only=True)
class StoppedEarly(TrainingSettings):
    """A model whose training stops early, by the score on validation notes.

    Parameters
    ----------
    patience : int
        Epochs without a better score after which training stops.
    class_weight : {"balanced", "none"}
    """

    learns_from_validation: ClassVar[bool] = True

    patience: Annotated[int, Ge(1)] = 3
    class_weight: ClassWeight = "balanced"

    def recipe(self, **further: Any) -> Recipe:
        """Return the recipe of the training loop, with `further` settings of `Recipe`."""
        decided = self.decided_.get("epochs")
        stop_after = None if decided is None else max(1, round(decided))
        return super().recipe(**{"patience": self.patience, "stop_after": stop_after, **further})

    def decisions(self) -> dict[str, float]:
        """Return the number of epochs after which the validation score was best."""
        return {"epochs": float(best_epoch(self.history_))}


@dataclass(eq=False, repr=False, kw_only=True)
class ReadsTokens(Model):
    """A model that reads the tokens of a note.

    Parameters
    ----------
    max_tokens : int
        Largest number of tokens read of a note, or of each of its windows.
    truncation : {"head", "tail", "head+tail", "windows"}
        Part of a longer note that is read; "windows" reads all of it, in sequences.
    """

    max_tokens: Annotated[int, Ge(4)] = 256
    truncation: Truncation = "head"

    def readable(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Return whether a token that is read of each note is a known one [note]."""
        if self.tokenizer is None:
            return super().readable(texts)
        return readable(self.tokenizer, texts, self.max_tokens, self.truncation)
