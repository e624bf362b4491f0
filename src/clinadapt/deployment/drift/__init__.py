"""Drift: whether new notes, and how a bundle does on them, are still those of its fitting.

histogram  counts in bins; the test and the measures between two of them
readings   what is read off notes
reference  the notes of the fitting, as counts: part of the bundle
compare    new notes held against them
words      what was found in sentences, and what to do
files      the page and its numbers
"""
