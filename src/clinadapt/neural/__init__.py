"""Network modules, adapters and the training loop."""
