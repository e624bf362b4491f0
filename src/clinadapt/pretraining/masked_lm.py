"""Guess what was masked (Devlin et al. 2019, arXiv 1810.04805), at a higher rate."""

from typing import Any

import torch
from torch import nn

# Wettig et al. 2023 (arXiv 2202.08005): smaller models do best at 20 to 40 %.
SHARE = 0.3
KEPT, RANDOM = 0.1, 0.1  # of the chosen tokens: shown as they are, and as any other
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
        """Loss and, out of training, the share of masked tokens guessed right.

        Parameters
        ----------
        ids : int64 tensor [sequence, token]
        generator : torch.Generator
            Decides what is masked.
        """
        shown, labels = self.masking(ids, generator)
        output = self.model(input_ids=shown, attention_mask=torch.ones_like(shown), labels=labels)
        if self.training:
            return {"loss": output.loss}
        return {"loss": output.loss, "accuracy": share_right(output.logits, labels)}


def share_right(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Share of masked tokens guessed right.

    Parameters
    ----------
    logits : float tensor [sequence, token, id], or [masked token, id]
    labels : int64 tensor [sequence, token]
        -100 where nothing is asked.
    """
    asked = labels != IGNORED
    if logits.ndim == 3:  # a model that predicts every token
        logits = logits[asked]
    return (logits.argmax(-1) == labels[asked]).float().mean()


class Masking(nn.Module):
    """What the model is shown, and what it should say.

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
        self.register_buffer("special", special, persistent=False)  # goes where the model goes

    def forward(
        self, ids: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Shown ids and labels.

        Parameters
        ----------
        ids : int64 tensor [sequence, token]
        generator : torch.Generator

        Returns
        -------
        (int64 tensor, int64 tensor), both [sequence, token]
            Labels are -100 where nothing is asked.
        """
        draw = torch.rand(ids.shape, generator=generator, device=ids.device)
        chosen = (draw < SHARE) & ~torch.isin(ids, self.special)
        labels = torch.where(chosen, ids, IGNORED)
        kind = torch.rand(ids.shape, generator=generator, device=ids.device)
        anything = torch.randint(self.vocabulary, ids.shape, generator=generator, device=ids.device)
        shown = torch.where(chosen & (kind >= KEPT + RANDOM), self.mask, ids)
        return torch.where(chosen & (kind < RANDOM), anything, shown), labels
