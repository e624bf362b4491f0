"""A fitted network as one ONNX file, held against the native one on real notes.

``network.py`` puts the network together from token ids to class scores and writes it (in int8, if
that is asked for), ``runtime.py`` runs it, ``graph.py`` checks a file before it is run,
``agreement.py`` measures and decides. What stands in for the native model is
`clinadapt.models.onnx_model.ExportedModel`.
"""
