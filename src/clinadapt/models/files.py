"""Names and largest sizes in bytes of the files that kinds of models write into a bundle."""

NETWORK_FILE = "network.onnx"
ABOUT_FILE, ABOUT_BYTES = "export.json", 2**16
GUARANTEE_FILE, GUARANTEE_BYTES = "privacy.json", 2**12
PIPELINE_FILE, PIPELINE_BYTES = "pipeline.skops", 2**31
