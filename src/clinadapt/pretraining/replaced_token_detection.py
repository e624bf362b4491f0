"""Tell which tokens were replaced (Clark et al. 2020, ELECTRA, arXiv 2003.10555).

A small generator guesses masked tokens; the encoder says of every token whether it is the text's
own or a guess. So it learns from all tokens, not from the masked ones alone.
"""

import copy
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from clinadapt.pretraining.masked_lm import IGNORED, Masking

WEIGHT = 50.0  # of telling, against guessing
GENERATOR_LAYERS, GENERATOR_SHARE = 2, 0.25


class ReplacedTokens(nn.Module):
    """Replaced-token detection; generator and encoder share their token embeddings.

    Parameters
    ----------
    model : transformers masked language model
        Its encoder is the one that is wanted.
    tokenizer : transformers.PreTrainedTokenizerFast
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__()
        from transformers import AutoModelForMaskedLM

        self.model = model
        config = copy.deepcopy(model.config)
        config.num_hidden_layers = GENERATOR_LAYERS
        if getattr(config, "layer_types", None) is not None:
            config.layer_types = config.layer_types[:GENERATOR_LAYERS]
        self.generator = AutoModelForMaskedLM.from_config(config)
        self.generator.set_input_embeddings(model.get_input_embeddings())
        self.generator.tie_weights()
        self.tell = nn.Linear(config.hidden_size, 1)
        self.masking = Masking(tokenizer, GENERATOR_SHARE)

    def forward(self, ids: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Loss and, out of training, the mean of the shares of own and replaced tokens told right.

        Parameters
        ----------
        ids : int64 tensor [sequence, token]
        generator : torch.Generator
            Decides what is masked and what is guessed.
        """
        shown, labels = self.masking(ids, generator)
        everything = torch.ones_like(ids)
        guess = self.generator(input_ids=shown, attention_mask=everything, labels=labels)
        asked = labels != IGNORED
        logits = guess.logits if guess.logits.ndim == 2 else guess.logits[asked]
        with torch.no_grad():
            noise = torch.rand(logits.shape, generator=generator, device=ids.device).clamp_min(1e-9)
            sampled = (logits.float() - torch.log(-torch.log(noise))).argmax(-1)  # Gumbel
        read = ids.masked_scatter(asked, sampled)
        replaced = (read != ids).float()
        base = self.model.base_model
        states = base(input_ids=read, attention_mask=everything).last_hidden_state
        said = self.tell(states).squeeze(-1).float()
        telling = functional.binary_cross_entropy_with_logits(said, replaced)
        loss = guess.loss + WEIGHT * telling
        if self.training:
            return {"loss": loss}
        right = ((said > 0) == (replaced > 0)).float()
        both = [right[replaced == kind].mean() for kind in (0.0, 1.0)]
        return {"loss": loss, "accuracy": torch.stack(both).nanmean()}
