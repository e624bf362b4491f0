"""Classifiers over HTTP: single notes, answered in batches, on the hospital's own machine.

app       the parts put together
routes    what is asked and answered at each path
schemas   requests and answers
problems  what is said when there is no answer, without a word of the request
guard     tokens, limits, headers and counts, before and around every request
tokens    bearer tokens, kept as salted hashes
limits    how much of everything
batching  requests gathered into one pass of the models; a bounded queue
models    what runs in the pass
metrics   counts for Prometheus
server    uvicorn: addresses, TLS, slow clients, a stop that loses nothing
page/     the page at ``/``

No text of a note, no identifier and no token is written anywhere: not in logs, not in errors, not
in metrics.
"""
