"""The built-in synthetic notes."""
