"""Encoders: pretrained ones (named, pinned, local first) and those trained from scratch."""
