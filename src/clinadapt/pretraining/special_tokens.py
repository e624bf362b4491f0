"""An encoder that is there, opened to go on from or to learn from."""

from typing import Any

from clinadapt.core.errors import InputError
from clinadapt.features.encoders.pretrained import PretrainedEncoder

NEEDED = ("mask_token", "cls_token", "sep_token", "pad_token")


def open_tokenizer(encoder: PretrainedEncoder, length: int) -> Any:
    """Tokenizer of an encoder, as studies read it.

    transformers' class of an architecture may build another than the folder's ``tokenizer.json``
    describes (AliBERT: BERT's layers, Unigram sub-words), so that class is asked for the names of
    the special tokens alone.

    Parameters
    ----------
    encoder : PretrainedEncoder
    length : int
        Tokens of a sequence.

    Returns
    -------
    transformers.PreTrainedTokenizerFast

    Raises
    ------
    InputError
        The encoder reads fewer tokens at once, or lacks a special token that pre-training needs.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    # Named by its files' class; only its names of special tokens are used.
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
            "was trained to guess masked tokens"
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
