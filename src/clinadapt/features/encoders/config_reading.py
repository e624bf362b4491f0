"""An encoder's ``config.json`` as the configuration object of the transformers library."""

from pathlib import Path
from typing import Any

from clinadapt.core import safe_files
from clinadapt.core.errors import InputError

CONFIG_FILE, CONFIG_BYTES = "config.json", 2**24
# Dropout of attention weights is disabled where layers are tuned: it took two fifths of a training
# step on a CPU, and encoders since ModernBERT do not use it. Dropout of features remains.
ATTENTION_DROPOUT = ("attention_probs_dropout_prob", "attention_dropout", "attn_pdrop")


def read_config(folder: Path) -> Any:
    """Return the configuration of an encoder's folder.

    Raises
    ------
    InputError
        It does not describe a model that the library knows and that this package can use.
    """
    from transformers import AutoConfig

    content = _content(folder)
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        layers = int(config.get_text_config().num_hidden_layers)
    except Exception as error:  # the library's errors on odd values are not specified
        raise InputError(f"{folder}: {_reason(content, error)}") from None
    if getattr(config, "is_encoder_decoder", False):
        raise InputError(
            f"{folder}: encoder-decoder models ({config.model_type}) are not supported, use an "
            "encoder"
        )
    if layers < 1:
        raise InputError(f"{folder}: {CONFIG_FILE} describes a model without layers")
    for name in ATTENTION_DROPOUT:
        if getattr(config, name, 0):
            setattr(config, name, 0.0)
    # BigBird's sparse attention draws blocks at random and depends on the length of the batch.
    if getattr(config, "attention_type", None) == "block_sparse":
        config.attention_type = "original_full"
    return config


def _content(folder: Path) -> dict[str, Any]:
    try:
        content = safe_files.read_json(folder / CONFIG_FILE, CONFIG_BYTES)
    except InputError as error:
        raise InputError([f"{folder}: {problem}" for problem in error.problems]) from None
    if not isinstance(content, dict):
        raise InputError(f"{folder}: {CONFIG_FILE}: expected a mapping")
    if "quantization_config" in content:
        raise InputError(
            f"{folder}: its weights are quantized (quantization_config), which is not supported: "
            "use the encoder that was not quantized"
        )
    return content


def _reason(content: dict[str, Any], error: Exception) -> str:
    from transformers import CONFIG_MAPPING, __version__

    kind = content.get("model_type")
    if "auto_map" in content and kind not in CONFIG_MAPPING:
        return (
            f"{CONFIG_FILE} does not describe a model that this version of transformers supports "
            "without the repository's own code, which is never run here"
        )
    if not kind:
        return f"{CONFIG_FILE} has no model_type, so it is not that of an encoder of transformers"
    if kind not in CONFIG_MAPPING:
        return (
            f"{CONFIG_FILE} describes a model of type {kind!r}, which transformers {__version__} "
            "does not know without the repository's own code"
        )
    return (
        f"{CONFIG_FILE} does not describe a text encoder of type {kind!r} ({type(error).__name__})"
    )
