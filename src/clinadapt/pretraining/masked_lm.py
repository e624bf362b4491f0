"""Objective: predict masked tokens (Devlin et al. 2019, arXiv 1810.04805), at a higher rate."""

from typing import Any

import torch
from torch import nn

# Wettig et al. 2023 (arXiv 2202.08005): small models perform best at 20 to 40 %.
SHARE = 0.3
KEPT, RANDOM = 0.1, 0.1  # shares of the chosen tokens: unchanged, and replaced at random
IGNORED = -100


class MaskedTokens(nn.Module):
    """Masked language modelling.

    Parameters
    ----------
    model : transformers masked language model
    tokenizer : transformers.PreTrainedTokenizerFast
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__()
        self.model = model
        self.masking = Masking(tokenizer)

    def forward(self, ids: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Return the loss and, outside training, the accuracy on masked tokens.

        Parameters
        ----------
        ids : int64 tensor [sequence, token]
        generator : torch.Generator
            Decides which tokens are masked.
        """
        shown, labels = self.masking(ids, generator)
        output = self.model(input_ids=shown, attention_mask=torch.ones_like(shown), labels=labels)
        if self.training:
            return {"loss": output.loss}
        return {"loss": output.loss, "accuracy": share_right(output.logits, labels)}


def share_right(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the share of masked tokens predicted right.

    Parameters
    ----------
    logits : float tensor [sequence, token, id], or [masked token, id]
    labels : int64 tensor [sequence, token]
        -100 for tokens that are not to be predicted.
    """
    masked = labels != IGNORED
    if logits.ndim == 3:  # a model that predicts every token
        logits = logits[masked]
    return (logits.argmax(-1) == labels[masked]).float().mean()


class Masking(nn.Module):
    """Chooses tokens to mask, and returns the model's inputs and labels.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerFast
        Its special tokens are never masked.
    """

    def __init__(self, tokenizer: Any) -> None:
        super().__init__()
        self.mask, self.vocabulary = tokenizer.mask_token_id, len(tokenizer)
        special = torch.tensor(tokenizer.all_special_ids)
        self.special: torch.Tensor
        self.register_buffer("special", special, persistent=False)  # moves to the model's device

    def forward(
        self, ids: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the ids to show to the model, and the labels.

        Parameters
        ----------
        ids : int64 tensor [sequence, token]
        generator : torch.Generator

        Returns
        -------
        (int64 tensor, int64 tensor), both [sequence, token]
            Labels are -100 for tokens that are not to be predicted.
        """
        draw = torch.rand(ids.shape, generator=generator, device=ids.device)
        chosen = (draw < SHARE) & ~torch.isin(ids, self.special)
        labels = torch.where(chosen, ids, IGNORED)
        kind = torch.rand(ids.shape, generator=generator, device=ids.device)
        anything = torch.randint(self.vocabulary, ids.shape, generator=generator, device=ids.device)
        shown = torch.where(chosen & (kind >= KEPT + RANDOM), self.mask, ids)
        return torch.where(chosen & (kind < RANDOM), anything, shown), labels
