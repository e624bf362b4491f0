"""Hyperparameters of the training loop."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of training.

    Attributes
    ----------
    epochs : int
        Largest number of epochs; early stopping may end training sooner.
    batch_size : int
        Notes per step of the optimiser.
    learning_rate : float
        Learning rate of new weights (adapter, head, from-scratch encoder).
    encoder_learning_rate : float
        Learning rate of pretrained weights.
    weight_decay : float
        Weight decay of AdamW.
    warmup : float
        Share of all steps in which the rate rises linearly; it then falls linearly to zero.
    patience : int
        Epochs without a better validation score before training stops.
    stop_after : int, optional
        Epochs after which training stops; the rate falls as if all epochs followed.
    max_batch_tokens : int
        Tokens per micro-batch, padding included; gradients of larger batches are accumulated.
    lean_optimizer : bool
        Whether to use Adafactor for pretrained weights, see
        `clinadapt.neural.training.optimizer.Optimizer`.
    clip : float
        Largest norm of the gradient.
    seed : int
    dtype : torch.dtype
        Data type of matrix products; weights and their updates are fp32.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    encoder_learning_rate: float = 5e-5
    weight_decay: float = 0.01
    warmup: float = 0.1
    patience: int = 3
    stop_after: int | None = None
    max_batch_tokens: int = 8_192
    lean_optimizer: bool = False
    clip: float = 1.0
    seed: int = 0
    dtype: torch.dtype = torch.float32
