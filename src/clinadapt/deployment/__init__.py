"""Use of bundles in production: scoring, HTTP server, drift and ONNX export."""
