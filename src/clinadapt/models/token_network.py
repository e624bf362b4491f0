"""A fitted network as one module, from token ids to class scores.

It joins the frozen and the trained layers, which are separate during the fit.
"""

import torch
from torch import Tensor, nn

from clinadapt.features.encoders.layer_split import Prefix
from clinadapt.neural.note_network import Batch, NoteNetwork
from clinadapt.neural.pooling_head import Pooling, pool
from clinadapt.neural.training.batch_sources import one_token_each


class TokenNetwork(nn.Module):
    """A fitted network from token ids to scores, on the CPU, for inference.

    Parameters
    ----------
    network : NoteNetwork
    prefix : Prefix, optional
        The frozen layers below it.
    pooling : {"mean", "first", "last", "max"}, optional
        Pooling of the prefix's features, if the network was fitted on pooled ones.
    """

    def __init__(
        self, network: NoteNetwork, prefix: Prefix | None = None, pooling: Pooling | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self.prefix = prefix
        self.pooling: Pooling | None = pooling
        self.cpu().eval()
        for module in self.modules():
            # Runtimes fuse attention only if it is written out.
            choose = getattr(module, "set_attn_implementation", None)
            if choose is not None:
                choose("eager")

    def forward(self, ids: Tensor, mask: Tensor, windows: Tensor) -> Tensor:
        """Return class scores [note, class].

        Parameters
        ----------
        ids, mask : Tensor of int64, shape [sequence, token]
        windows : Tensor of float32, shape [note, sequence]
            Share of each sequence in a note; the shares of a note sum to 1.
        """
        real = mask.bool()
        features = ids if self.prefix is None else self.prefix.features(ids, mask)
        if self.pooling is None:
            note = torch.arange(ids.shape[0], device=ids.device)
            pooled, _ = self.network.pooled(Batch(features, real, note, ids.shape[0]))
            return self.network.head(windows @ pooled)
        vectors = windows @ pool(features, real, self.pooling)
        return self.network(one_token_each(vectors))[0]
