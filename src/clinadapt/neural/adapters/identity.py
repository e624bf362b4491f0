"""No adapter: the features go to the head unchanged (adapter "none")."""

from torch import Tensor, nn


class Identity(nn.Module):
    """Identity adapter, ``h``; with a linear head this is a linear probe.

    Parameters
    ----------
    width : int
        Width of the features, which every adapter takes and this one ignores.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return `hidden` [note, token, width] unchanged."""
        return hidden
