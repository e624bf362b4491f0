"""Contributions of words where the input is tokens: integrated gradients over their embeddings.

The baseline is the same note with every token of its text unknown: the encoder's mask token, which
masked language models were trained to read as "some word". Where there is none it is the token
that ends or begins a text, and without such tokens (from scratch) the mean of all tokens' vectors.
Not zero: a norm right after the embedding jumps there, and nothing would be attributed. Special
tokens, positions and the length stay as they are, so that only the words' content is attributed.
The experts of a mixture stay those of the note: a routing that jumps on the way has no integral.
All of it runs in fp32.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn

from clinadapt.core.device import pick_device
from clinadapt.data.labels import Task
from clinadapt.explain.attribution import Attribution
from clinadapt.explain.integrated_gradients import SMALL_STEPS, STEPS, integrate, pick
from clinadapt.explain.words import Piece
from clinadapt.features.encoders.layer_split import Prefix, Suffix
from clinadapt.features.tokenization import Truncation, pieces, special_ids
from clinadapt.models.from_scratch import ScratchModel
from clinadapt.models.pretrained import PretrainedModel
from clinadapt.neural.note_network import Batch
from clinadapt.neural.pooling_head import merge_windows, pool
from clinadapt.neural.training.batch_sources import one_token_each

MASKS = ("[MASK]", "<mask>")


@dataclass(frozen=True)
class Reader:
    """A network that reads token ids, and how notes become ids.

    Attributes
    ----------
    scores : callable
        From a `Batch` of ids to class scores [note, class].
    embedding : nn.Module
        Turns ids [sequence, token] into vectors [sequence, token, width]; nothing else does.
    tokenizer : tokenizers.Tokenizer
    max_tokens : int
    truncation : {"head", "tail", "head+tail", "windows"}
    task : {"binary", "multiclass", "multilabel"}
    device : torch.device
    steps : int
        Of the integral.
    held : callable
        From a `Batch` to a context in which the network is continuous around it.
    """

    scores: Callable[[Batch], Tensor]
    embedding: nn.Module
    tokenizer: Tokenizer
    max_tokens: int
    truncation: Truncation
    task: Task
    device: torch.device
    steps: int = STEPS
    held: Callable[[Batch], AbstractContextManager[object]] = nullcontext


def scratch(
    model: ScratchModel, texts: Sequence[str], columns: Sequence[int]
) -> Iterator[Attribution]:
    """Contributions to what an encoder from scratch says."""
    device = pick_device(model.device)
    network = model.network_.to(device).eval()
    encoder: Any = network.encoder
    reader = Reader(
        lambda batch: network(batch)[0],
        encoder.embedding.token,
        model.tokenizer_,
        model.max_tokens,
        model.truncation,
        model.task_,
        device,
        SMALL_STEPS,
        getattr(encoder, "routing_held", nullcontext),
    )
    return attributions(reader, texts, columns)


def pretrained(
    model: PretrainedModel, texts: Sequence[str], columns: Sequence[int]
) -> Iterator[Attribution]:
    """Contributions to what a pretrained encoder, its adapter and its head say.

    The frozen layers run too, where `predict_proba` may take their features from elsewhere, rounded
    to 16 bit.
    """
    device = pick_device(model.device)
    network = model.network_.to(device).eval()
    if model.split_layer_:
        encoder = model.encoder_
        prefix = Prefix(encoder.load(), encoder.layers, model.split_layer_).to(device)
        whole = prefix.model
    else:
        assert isinstance(model.suffix_module_, Suffix)
        whole = model.suffix_module_.model

    def scores(batch: Batch) -> Tensor:
        if model.split_layer_:
            features = prefix.features(batch.inputs, batch.mask.long())
            if model.after_pooling:
                pooled = pool(features, batch.mask, model.pooling_)
                batch = one_token_each(merge_windows(pooled, batch.note, batch.notes))
                batch = batch.to(device)
            else:
                batch = replace(batch, inputs=features)
        return network(batch)[0]

    reader = Reader(
        scores,
        whole.get_input_embeddings(),  # type: ignore[operator]
        model.encoder_.tokenizer,
        model.max_tokens,
        model.truncation,
        model.task_,
        device,
    )
    return attributions(reader, texts, columns)


def attributions(
    reader: Reader, texts: Sequence[str], columns: Sequence[int]
) -> Iterator[Attribution]:
    """Attribute the logit of a class to the tokens of each note, note by note.

    Parameters
    ----------
    reader : Reader
    texts : sequence of str
    columns : sequence of int
        Number of the class, of each note.
    """
    unknown = _unknown(reader)
    for text, column in zip(texts, columns, strict=True):
        ids, mask, number, where = sequences(reader, text)
        ids, mask = ids.to(reader.device), mask.to(reader.device)
        with torch.no_grad():
            vectors = reader.embedding(ids)
            of_text = torch.from_numpy(number >= 0).to(reader.device)
            baseline = torch.where(of_text[..., None], unknown, vectors)

        def logit(
            embedded: Tensor, ids: Tensor = ids, mask: Tensor = mask, to: int = column
        ) -> Tensor:
            steps, windows = embedded.shape[:2]
            batch = Batch(
                ids.repeat(steps, 1),
                mask.repeat(steps, 1),
                torch.arange(steps, device=ids.device).repeat_interleave(windows),
                steps,
            )
            vectors = embedded.flatten(0, 1)
            with reader.embedding.register_forward_hook(lambda module, ids, output: vectors):
                return pick(reader.task, reader.scores(batch).float(), to)

        note = Batch(ids, mask, torch.zeros_like(ids[:, 0]), 1)
        with reader.held(note):
            found, at_note, at_baseline = integrate(
                logit, vectors[None], baseline[None], reader.steps
            )
        yield _told(text, where, number, found.sum(dim=-1).numpy(), at_baseline, at_note)


@torch.no_grad()
def _unknown(reader: Reader) -> Tensor:
    """Vector [width] of a token that says nothing."""
    before, after = special_ids(reader.tokenizer)
    masks = [reader.tokenizer.token_to_id(name) for name in MASKS]
    known = [id for id in (*masks, *after, *before) if id is not None]
    if known:
        return reader.embedding(torch.tensor(known[:1], device=reader.device))[0]
    return reader.embedding.weight.mean(dim=0)  # type: ignore[operator]


def sequences(
    reader: Reader, text: str
) -> tuple[Tensor, Tensor, NDArray[np.int64], list[tuple[int, int]]]:
    """Ids and mask [sequence, token], each token's number in the text or -1, where each is."""
    before, after = special_ids(reader.tokenizer)
    encoding = reader.tokenizer.encode(text, add_special_tokens=False)
    room = reader.max_tokens - len(before) - len(after)
    kept = pieces(list(range(len(encoding.ids))), room, reader.truncation)
    longest = max(map(len, kept)) + len(before) + len(after)
    ids = np.zeros((len(kept), longest), dtype=np.int64)
    number = np.full((len(kept), longest), -1)
    mask = np.zeros((len(kept), longest), dtype=np.bool_)
    for row, tokens in enumerate(kept):
        sequence = [*before, *(encoding.ids[token] for token in tokens), *after]
        ids[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = True
        number[row, len(before) : len(before) + len(tokens)] = tokens
    return torch.from_numpy(ids), torch.from_numpy(mask), number, encoding.offsets


def _told(
    text: str,
    where: Sequence[tuple[int, int]],
    number: NDArray[np.int64],
    found: NDArray[np.float64],
    baseline: float,
    logit: float,
) -> Attribution:
    """Attributions [sequence, token] as pieces of the text; in two windows a token counts twice."""
    read = np.zeros(len(text), dtype=np.bool_)
    told: list[Piece] = []
    for token, contribution in zip(number[number >= 0].tolist(), found[number >= 0], strict=True):
        start, end = where[token]
        read[start:end] = True
        told.append((start, end, float(contribution)))
    return Attribution(told, baseline, logit, read)
