"""Guess what was masked, with features that agree with those of a larger encoder, the teacher.

A student learns from the labels that the texts give and from the last hidden features of a teacher
that reads the same tokens (DistilBERT, Sanh et al. 2019, arXiv 1910.01108). Of what there is to
agree on, the last features are what classifiers read, and they exist in every architecture and at
every depth; attention maps (MiniLM, Wang et al. 2020, arXiv 2002.10957) and the features of layers
in between (TinyBERT, Jiao et al. 2020, arXiv 1909.10351) bind the student to the teacher's shape.

    agreement = mean over the teacher's dimensions d of corr(W s, t)_d

with s a token's state in the student [width], t in the teacher [teacher's width], W learned, and
the correlation taken over all tokens of a step. 1 - agreement is half the mean squared error of
features that are standardised, each dimension over the tokens. The cosine of two features is not
used: in most encoders a few dimensions are far larger than the others and hardly vary, and one
constant vector has a high cosine with all (Timkey & van Schijndel 2021, arXiv 2109.04404).

The teacher reads the masked tokens, as the student does: what they agree on is then a function
of the same input, which the student can learn (Beyer et al. 2022, arXiv 2106.05237), and at a mask
the teacher's state says which words it thinks possible, more than the one that stood there.
"""

from typing import Any

import torch
from torch import nn

from clinadapt.core.device import compute_dtype
from clinadapt.data.text_store import Texts
from clinadapt.features.encoders.pretrained import PretrainedEncoder
from clinadapt.pretraining.masked_lm import Masking, share_right

WEIGHT = 10.0  # of disagreeing, against guessing
LEAST_SPREAD = 1e-6
COMPARED_TEXTS = 200


class DistilledTokens(nn.Module):
    """Masked language modelling with a teacher.

    Parameters
    ----------
    model : transformers masked language model
        The student.
    tokenizer : transformers.PreTrainedTokenizerFast
        Of both.
    teacher : transformers model
        From ids to ``last_hidden_state``, on the device that it is to run on.
    """

    def __init__(self, model: Any, tokenizer: Any, teacher: Any) -> None:
        super().__init__()
        self.model = model
        self.map = nn.Linear(model.config.hidden_size, teacher.config.hidden_size, bias=False)
        # In a tuple it is no part of this module: not trained, not in checkpoints, not set to
        # training mode.
        self.taught_by = (teacher.eval().requires_grad_(False),)
        self.masking = Masking(tokenizer)

    def forward(self, ids: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Loss, agreement and, out of training, the share of masked tokens guessed right.

        Parameters
        ----------
        ids : int64 tensor [sequence, token]
        generator : torch.Generator
            Decides what is masked.
        """
        shown, labels = self.masking(ids, generator)
        read = {"input_ids": shown, "attention_mask": torch.ones_like(shown)}
        output = self.model(**read, labels=labels, output_hidden_states=True)
        with torch.no_grad():
            wanted = self.taught_by[0](**read).last_hidden_state
        agreement = correlation(self.map(output.hidden_states[-1]), wanted)
        found = {"loss": output.loss + WEIGHT * (1 - agreement), "agreement": agreement}
        if self.training:
            return found
        return {**found, "accuracy": share_right(output.logits, labels)}


def correlation(features: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Mean over dimensions of the correlation over tokens.

    Parameters
    ----------
    features, wanted : float tensor [sequence, token, width]

    Returns
    -------
    float32 tensor, scalar
        A dimension that does not vary counts as 0.
    """
    return (_standardised(features) * _standardised(wanted)).mean()


def _standardised(features: torch.Tensor) -> torch.Tensor:
    flat = features.flatten(0, 1).float()
    centred = flat - flat.mean(0)
    return centred / centred.square().mean(0).sqrt().clamp_min(LEAST_SPREAD)


def load_teacher(encoder: PretrainedEncoder, device: torch.device) -> Any:
    """Load an encoder to teach, its weights in 16 bit where products of such are fast."""
    return encoder.load().to(device, compute_dtype("auto", device))


def same_tokens(one: Any, other: Any, texts: Texts) -> bool:
    """Whether two tokenizers have one vocabulary and cut some of the texts alike."""
    if one.get_vocab() != other.get_vocab():
        return False
    some = list(texts[:COMPARED_TEXTS])
    ids = [cut(some, add_special_tokens=False, verbose=False).input_ids for cut in (one, other)]
    return bool(ids[0] == ids[1])
