"""Adapters, one a file, and their registry."""
