"""Features of notes from the frozen prefix of an encoder: cached, or computed on the fly."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from clinadapt.core.device import Precision, compute_dtype
from clinadapt.core.process_memory import give_back_freed
from clinadapt.core.run_context import Context, session_cache
from clinadapt.features.encoder_inference import Reader, token_chunks
from clinadapt.features.encoders.backends import Backend, BackendChoice, choose, make_reader
from clinadapt.features.encoders.pretrained import PretrainedEncoder
from clinadapt.features.feature_cache import FeatureStore, live_features
from clinadapt.features.note_sources import FeatureSource
from clinadapt.features.tokenization import Tokens, Truncation

FEW_NOTES = 256  # up to so many, memory is kept for the next notes, as a server needs it


@dataclass
class FrozenPrefix:
    """The layers of an encoder below a split layer, with the settings of their computation.

    Parameters
    ----------
    encoder : PretrainedEncoder
    split_layer : int
        Number of layers in the prefix.
    max_tokens : int
    truncation : {"head", "tail", "head+tail", "windows"}
    precision : {"auto", "fp32", "bf16"}
    backend : {"auto", "torch", "openvino"}
    """

    encoder: PretrainedEncoder
    split_layer: int
    max_tokens: int
    truncation: Truncation
    precision: Precision
    backend: BackendChoice
    _reader: Reader | None = field(default=None, init=False, repr=False)

    def cached(
        self, parts: Sequence[Sequence[str]], context: Context, device: torch.device
    ) -> list[FeatureSource]:
        """Return one source for each part, in one pass through the cache of the context.

        Parameters
        ----------
        parts : sequence of (sequence of str)
            Texts of each part; an empty part has no source.
        context : Context
        device : torch.device
        """
        counts: list[NDArray[np.int64]] = []
        total = sum(map(len, parts))

        def chunks() -> Iterator[Tokens]:
            for tokens in chain(*(self._chunks(part, context) for part in parts)):
                counts.append(np.diff(tokens.first))
                yield tokens

        context.progress("loading encoder…", 0, total)
        remaining = chunks()
        head = next(remaining)  # the backend is chosen by the first notes
        store = FeatureStore(context.cache or session_cache())
        cached = store.backend(self.encoder, self.split_layer, device, self.precision)
        backend = self._choose(head, device, cached)
        features = store.features(
            self.encoder,
            self.split_layer,
            chain([head], remaining),
            device,
            self.precision,
            backend,
            lambda done: context.progress("encode", done, total),
        )
        context.ledger.encode_seconds += features.encode_seconds
        context.ledger.encoded += features.encoded
        context.ledger.reused += features.reused
        context.ledger.backend = backend
        first = np.r_[0, np.cumsum(np.concatenate(counts))]
        ends = np.cumsum([0, *map(len, parts)])
        return [
            FeatureSource(*features.part(first, int(start), int(end)))
            for start, end in pairwise(ends)
            if end > start
        ]

    def passing(
        self, texts: Sequence[str], context: Context, device: torch.device
    ) -> Iterator[FeatureSource]:
        """Yield sources of some thousand notes each, whose features are not cached."""
        for tokens in self._chunks(texts, context):
            if self._reader is None:  # loaded once for all calls
                dtype = compute_dtype(self.precision, device)
                backend = self._choose(tokens, device)
                self._reader = make_reader(backend, self.encoder, self.split_layer, dtype, device)
            yield FeatureSource(live_features(self._reader, tokens, device), tokens.first)
            if len(tokens.first) > FEW_NOTES:
                give_back_freed()

    def _chunks(self, texts: Sequence[str], context: Context) -> Iterator[Tokens]:
        for tokens in token_chunks(self.encoder.tokenizer, texts, self.max_tokens, self.truncation):
            context.ledger.truncated_notes += tokens.truncated
            yield tokens

    def _choose(
        self, sample: Tokens, device: torch.device, cached: Backend | None = None
    ) -> Backend:
        dtype = compute_dtype(self.precision, device)
        return choose(self.backend, self.encoder, self.split_layer, dtype, device, sample, cached)
