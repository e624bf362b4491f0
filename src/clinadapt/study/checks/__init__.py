"""Checks of notes and of finished studies, each with a code, a page and a way to silence it."""
