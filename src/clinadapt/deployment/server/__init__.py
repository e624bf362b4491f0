"""HTTP server for bundles, on the hospital's own machine; needs `clinadapt[serve]`.

app              assembles the application
routes           paths and their handlers
schemas          requests and responses
problem_details  error responses, without content of the request
middleware       tokens, limits, security headers and request metrics
api_tokens       bearer tokens, stored as salted hashes
limits           limits of requests, batches and queue
batching         batches of concurrent requests, and a bounded queue
models           inference for a batch
prometheus       metrics
uvicorn_server   addresses, TLS, slow clients, graceful shutdown
page/            the page at ``/``

The text of notes, identifiers and tokens never appear in logs, errors or metrics.
"""
