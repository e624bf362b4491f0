r"""Guess what was masked, and from the mean of the features which words the whole sequence holds.

Masked tokens alone teach features of single tokens; a note is classified by their mean. So that
mean also predicts the sequence's bag of words (Ma et al. 2024, "Drop your decoder: pre-training
with bag-of-word prediction for dense passage retrieval", arXiv 2401.11248), here with rare words
counting more: the target is the TF-IDF of its sub-words, scaled to a distribution, and the loss the
cross-entropy with the softmax over all sub-words.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from clinadapt.pretraining.masked_lm import MaskedTokens

SEQUENCES_AT_ONCE = 4096


class BagOfWords(nn.Module):
    """Masked language modelling, and the bag of words of the sequence.

    Parameters
    ----------
    model : transformers masked language model
    tokenizer : transformers.PreTrainedTokenizerFast
    train : ndarray [sequence, token]
        Sub-words that few of these sequences hold count more.
    """

    def __init__(self, model: Any, tokenizer: Any, train: NDArray[Any]) -> None:
        super().__init__()
        self.masked = MaskedTokens(model, tokenizer)
        width, size = model.config.hidden_size, model.config.vocab_size
        self.bag = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width))
        rarity = torch.from_numpy(inverse_frequency(train, size))
        rarity[tokenizer.all_special_ids] = 0
        self.rarity: Tensor
        self.register_buffer("rarity", rarity.float(), persistent=False)
        self.features: Tensor
        model.base_model.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, given: Any, output: Any) -> None:
        self.features = output[0]

    def forward(self, ids: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Loss of both; out of training of the masked tokens alone, and the share guessed right.

        Parameters
        ----------
        ids : int64 tensor [sequence, token]
        generator : torch.Generator
            Decides what is masked.
        """
        found: dict[str, Tensor] = self.masked(ids, generator)
        if not self.training:
            return found
        output = self.masked.model.get_output_embeddings().weight
        scores = functional.linear(self.bag(self.features.mean(dim=1)), output).float()
        bags = bags_of(ids, self.rarity.float())
        return {"loss": found["loss"] - (bags * scores.log_softmax(dim=1)).sum(dim=1).mean()}


def bags_of(ids: Tensor, rarity: Tensor) -> Tensor:
    """TF-IDF of each sequence, scaled to add up to one.

    Parameters
    ----------
    ids : int64 tensor [sequence, token]
    rarity : float tensor [sub-word]

    Returns
    -------
    float tensor [sequence, sub-word]
    """
    counts = rarity.new_zeros(len(ids), len(rarity))
    counts.scatter_add_(1, ids, torch.ones_like(ids, dtype=rarity.dtype))
    weights = torch.where(counts > 0, 1 + counts.clamp_min(1).log(), 0) * rarity
    return weights / weights.sum(dim=1, keepdim=True).clamp_min(torch.finfo(rarity.dtype).tiny)


def inverse_frequency(train: NDArray[Any], size: int) -> NDArray[np.float64]:
    """Logarithm of the number of sequences over that of those that hold the sub-word.

    Parameters
    ----------
    train : ndarray [sequence, token]
    size : int
        Number of sub-words.

    Returns
    -------
    ndarray [sub-word]
    """
    holding = np.zeros(size)
    for start in range(0, len(train), SEQUENCES_AT_ONCE):
        ids = np.sort(train[start : start + SEQUENCES_AT_ONCE], axis=1)
        first = np.ones(ids.shape, dtype=bool)
        first[:, 1:] = ids[:, 1:] != ids[:, :-1]
        holding += np.bincount(ids[first], minlength=size)
    rarity: NDArray[np.float64] = np.log((1 + len(train)) / (1 + holding))
    return rarity
