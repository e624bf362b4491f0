"""Modules of the networks, adapters and the training loop."""
