"""The training loop, its batches, losses, optimisers and memory."""
