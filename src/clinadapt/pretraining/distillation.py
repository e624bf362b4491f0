"""Objective: predict masked tokens, with features that agree with those of a larger teacher.

A student learns from the masked tokens and from the last hidden features of a teacher that reads
the same tokens (DistilBERT, Sanh et al. 2019, arXiv 1910.01108). The last features are chosen
because classifiers use them, and because every architecture has them at every depth; attention maps
(MiniLM, Wang et al. 2020, arXiv 2002.10957) and features of intermediate layers (TinyBERT, Jiao et
al. 2020, arXiv 1909.10351) would tie the student to the teacher's architecture.

    agreement = mean over the teacher's dimensions d of corr(W s, t)_d

with s a token's feature vector in the student [width], t that in the teacher [teacher's width], W
learned, and the correlation taken over all tokens of a step. 1 - agreement is half the mean squared
error of features standardised in each dimension over the tokens. The cosine of two feature vectors
is not used: in most encoders a few dimensions are far larger than the others and hardly vary, so
that one constant vector has a high cosine with all (Timkey & van Schijndel 2021, arXiv 2109.04404).

The teacher reads the masked tokens, as the student does. The target is then a function of the same
input, which the student can learn (Beyer et al. 2022, arXiv 2106.05237), and at a mask the
teacher's features represent all words that it considers possible, not only the original one.
"""

from typing import Any

import torch
from torch import nn

from clinadapt.core.device import compute_dtype
from clinadapt.data.text_store import Texts
from clinadapt.features.encoders.pretrained import PretrainedEncoder
from clinadapt.pretraining.masked_lm import Masking, share_right

WEIGHT = 10.0  # weight of disagreement relative to the loss of masked tokens
LEAST_SPREAD = 1e-6
COMPARED_TEXTS = 200


class DistilledTokens(nn.Module):
    """Masked language modelling with a teacher.

    Parameters
    ----------
    model : transformers masked language model
        The student.
    tokenizer : transformers.PreTrainedTokenizerFast
        Tokenizer of both.
    teacher : transformers model
        From ids to ``last_hidden_state``, on the device on which it is to run.
    """

    def __init__(self, model: Any, tokenizer: Any, teacher: Any) -> None:
        super().__init__()
        self.model = model
        self.map = nn.Linear(model.config.hidden_size, teacher.config.hidden_size, bias=False)
        # In a tuple it is not a part of this module: it is not trained, not stored in checkpoints
        # and not set to training mode.
        self.taught_by = (teacher.eval().requires_grad_(False),)
        self.masking = Masking(tokenizer)

    def forward(self, ids: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Return loss, agreement and, outside training, the accuracy on masked tokens.

        Parameters
        ----------
        ids : int64 tensor [sequence, token]
        generator : torch.Generator
            Decides which tokens are masked.
        """
        shown, labels = self.masking(ids, generator)
        inputs = {"input_ids": shown, "attention_mask": torch.ones_like(shown)}
        output = self.model(**inputs, labels=labels, output_hidden_states=True)
        with torch.no_grad():
            target = self.taught_by[0](**inputs).last_hidden_state
        agreement = correlation(self.map(output.hidden_states[-1]), target)
        measures = {"loss": output.loss + WEIGHT * (1 - agreement), "agreement": agreement}
        if self.training:
            return measures
        return {**measures, "accuracy": share_right(output.logits, labels)}


def correlation(features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean over dimensions of the correlation over tokens.

    Parameters
    ----------
    features, target : float tensor [sequence, token, width]

    Returns
    -------
    float32 tensor, scalar
        A dimension that does not vary counts as 0.
    """
    return (_standardised(features) * _standardised(target)).mean()


def _standardised(features: torch.Tensor) -> torch.Tensor:
    flat = features.flatten(0, 1).float()
    centred = flat - flat.mean(0)
    return centred / centred.square().mean(0).sqrt().clamp_min(LEAST_SPREAD)


def load_teacher(encoder: PretrainedEncoder, device: torch.device) -> Any:
    """Load an encoder as a teacher, in 16 bit where such products are fast."""
    return encoder.load().to(device, compute_dtype("auto", device))


def same_tokens(one: Any, other: Any, texts: Texts) -> bool:
    """Return whether two tokenizers have the same vocabulary and split some texts alike."""
    if one.get_vocab() != other.get_vocab():
        return False
    some = list(texts[:COMPARED_TEXTS])
    ids = [
        tokenizer(some, add_special_tokens=False, verbose=False).input_ids
        for tokenizer in (one, other)
    ]
    return bool(ids[0] == ids[1])
