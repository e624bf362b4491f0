"""Errors, files, devices, formatting: what every other folder stands on."""
