"""Names of the files of cached features."""

DATA = ".safetensors"
SIDECAR = ".json"  # written last, with the checksum of the data
