"""A bundle at work: scoring, server, drift, ONNX export."""
