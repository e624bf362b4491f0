"""Tokenizers of existing encoders, with the special tokens that pre-training needs."""

from typing import Any

from clinadapt.core.errors import InputError
from clinadapt.features.encoders.pretrained import PretrainedEncoder

NEEDED = ("mask_token", "cls_token", "sep_token", "pad_token")


def open_tokenizer(encoder: PretrainedEncoder, length: int) -> Any:
    """Return the tokenizer of an encoder, the same as studies use.

    The tokenizer class that transformers chooses for an architecture may differ from the folder's
    ``tokenizer.json`` (AliBERT has BERT's layers and Unigram sub-words). That class is therefore
    used only for the names of the special tokens.

    Parameters
    ----------
    encoder : PretrainedEncoder
    length : int
        Number of tokens of a sequence.

    Returns
    -------
    transformers.PreTrainedTokenizerFast

    Raises
    ------
    InputError
        The encoder's maximum length is smaller, or it lacks a special token that is needed.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    named = AutoTokenizer.from_pretrained(encoder.folder, local_files_only=True)
    own = encoder.tokenizer
    names = {
        name: token
        for name, token in named.special_tokens_map.items()
        if isinstance(token, str) and own.token_to_id(token) is not None
    }
    problems = []
    if missing := [name.removesuffix("_token") for name in NEEDED if name not in names]:
        problems.append(
            f"{encoder.folder.name} has no {', '.join(missing)} token: expected an encoder that "
            "was trained on masked tokens"
        )
    if length > encoder.max_tokens:
        problems.append(
            f"{encoder.folder.name} reads at most {encoder.max_tokens} tokens at once, got "
            f"--length {length}: give a smaller one"
        )
    if problems:
        raise InputError(problems)
    return PreTrainedTokenizerFast(
        tokenizer_object=own,
        model_max_length=encoder.max_tokens,
        model_input_names=list(named.model_input_names),
        **names,
    )
