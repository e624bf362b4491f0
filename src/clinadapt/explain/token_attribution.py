"""Contributions of words to models that read tokens, by integrated gradients on embeddings.

The baseline is the same note with every token of its text unknown: the encoder's mask token, which
masked language models were trained to read as "some word". An encoder without a mask token uses
the token that ends or begins a text, and one without such tokens (from scratch) the mean of all
token vectors. Zero would not do: a normalisation right after the embedding is discontinuous there,
and nothing would be attributed. Special tokens, positions and the length do not change, so that
only the content of words is attributed. The experts of a mixture remain those of the note, because
discontinuous routing has no integral. All computation is in fp32.
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
from clinadapt.features.tokenization import Truncation, excerpt_of, pieces, special_ids
from clinadapt.models.from_scratch import ScratchModel
from clinadapt.models.pretrained import PretrainedModel
from clinadapt.neural.note_network import Batch
from clinadapt.neural.pooling_head import merge_windows, pool
from clinadapt.neural.training.batch_sources import one_token_each

MASKS = ("[MASK]", "<mask>")


@dataclass(frozen=True)
class Reader:
    """A network that reads token ids, and the settings that turn notes into ids.

    Attributes
    ----------
    scores : callable
        From a `Batch` of ids to class scores [note, class].
    embedding : nn.Module
        The only module that turns ids [sequence, token] into vectors [sequence, token, width].
    tokenizer : tokenizers.Tokenizer
    max_tokens : int
    truncation : {"head", "tail", "head+tail", "windows"}
    task : {"binary", "multiclass", "multilabel"}
    device : torch.device
    steps : int
        Steps of the integral.
    fixed_routing : callable
        From a `Batch` to a context in which the routing of its experts is fixed.
    """

    scores: Callable[[Batch], Tensor]
    embedding: nn.Module
    tokenizer: Tokenizer
    max_tokens: int
    truncation: Truncation
    task: Task
    device: torch.device
    steps: int = STEPS
    fixed_routing: Callable[[Batch], AbstractContextManager[object]] = nullcontext


def scratch(
    model: ScratchModel, texts: Sequence[str], columns: Sequence[int]
) -> Iterator[Attribution]:
    """Attribute the logit of a class of an encoder trained from scratch."""
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
    """Attribute the logit of a class of a pretrained encoder with adapter and head.

    The frozen layers run again here; `predict_proba` may read their features from the cache,
    rounded to 16 bits.
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
        Column of the explained class, for each note.
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

            def given(module: nn.Module, ids: object, output: Tensor) -> Tensor:
                # Longformer adds padding to the ids, whose vectors stay.
                return torch.cat([vectors, output[:, vectors.shape[1] :]], dim=1)

            with reader.embedding.register_forward_hook(given):
                return pick(reader.task, reader.scores(batch).float(), to)

        note = Batch(ids, mask, torch.zeros_like(ids[:, 0]), 1)
        with reader.fixed_routing(note):
            contributions, at_note, at_baseline = integrate(
                logit, vectors[None], baseline[None], reader.steps
            )
        by_token = contributions.sum(dim=-1).numpy()
        yield _attribution(text, where, number, by_token, at_baseline, at_note)


@torch.no_grad()
def _unknown(reader: Reader) -> Tensor:
    """Return the vector [width] of an uninformative token."""
    before, after = special_ids(reader.tokenizer)
    masks = [reader.tokenizer.token_to_id(name) for name in MASKS]
    known = [id for id in (*masks, *after, *before) if id is not None]
    if known:
        return reader.embedding(torch.tensor(known[:1], device=reader.device))[0]
    return reader.embedding.weight.mean(dim=0)  # type: ignore[operator]


def sequences(
    reader: Reader, text: str
) -> tuple[Tensor, Tensor, NDArray[np.int64], list[tuple[int, int]]]:
    """Return ids, mask, and number in the text or -1 [sequence, token], and token positions."""
    before, after = special_ids(reader.tokenizer)
    room = reader.max_tokens - len(before) - len(after)
    excerpt = excerpt_of(reader.tokenizer, text, room, reader.truncation)
    encoding = reader.tokenizer.encode(excerpt.text, add_special_tokens=False)
    kept = pieces(list(range(len(encoding.ids))), room, reader.truncation)
    longest = max(map(len, kept)) + len(before) + len(after)
    ids = np.zeros((len(kept), longest), dtype=np.int64)
    number = np.full((len(kept), longest), -1)
    mask = np.zeros((len(kept), longest), dtype=np.bool_)
    for place, tokens in enumerate(kept):
        sequence = [*before, *(encoding.ids[token] for token in tokens), *after]
        ids[place, : len(sequence)] = sequence
        mask[place, : len(sequence)] = True
        number[place, len(before) : len(before) + len(tokens)] = tokens
    places = [excerpt.place(*span) if span[0] < span[1] else span for span in encoding.offsets]
    return torch.from_numpy(ids), torch.from_numpy(mask), number, places


def _attribution(
    text: str,
    where: Sequence[tuple[int, int]],
    number: NDArray[np.int64],
    contributions: NDArray[np.float64],
    baseline: float,
    logit: float,
) -> Attribution:
    """Return contributions [sequence, token] as pieces of text; windows may share a token."""
    read = np.zeros(len(text), dtype=np.bool_)
    in_text = number >= 0
    by_piece: list[Piece] = []
    for token, contribution in zip(number[in_text].tolist(), contributions[in_text], strict=True):
        start, end = where[token]
        read[start:end] = True
        by_piece.append((start, end, float(contribution)))
    return Attribution(by_piece, baseline, logit, read)
