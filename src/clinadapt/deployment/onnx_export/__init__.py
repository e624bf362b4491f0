"""Exports a fitted network to one ONNX file and compares it with the native network on notes.

``graph.py`` writes the network, from token ids to class scores, in fp32 or int8; ``export.py``
compares the candidates with the native model and saves the fastest that agrees with it.
`clinadapt.models.onnx_model.ExportedModel` replaces the native model;
`clinadapt.models.onnx_runtime` checks and runs the file.
"""
