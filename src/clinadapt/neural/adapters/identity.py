"""No adapter: the features go to the head as they are (the row "none")."""

from torch import Tensor, nn


class Identity(nn.Module):
    """The identity, ``h``. With a linear head this is a linear probe.

    Parameters
    ----------
    width : int
        Ignored; every adapter takes it.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return `hidden` [note, token, width] unchanged."""
        return hidden
