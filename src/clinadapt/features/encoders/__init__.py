"""Pretrained encoders: catalogue, loading, layer split and inference backends."""
