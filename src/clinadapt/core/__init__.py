"""Errors, files, devices and formatting, which every other package uses."""
