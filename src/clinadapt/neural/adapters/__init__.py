"""Adapters, one per file, and their registry."""
