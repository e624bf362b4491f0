"""A tokenizer learned on the corpus, as a folder that transformers opens."""

from typing import Any

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from clinadapt.texts import Texts

SPECIAL = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}


def learn_vocabulary(texts: Texts, size: int, length: int) -> Any:
    """Learn sub-words (Unigram, Kudo 2018; lower case, accents kept).

    Parameters
    ----------
    texts : Texts
    size : int
        Number of sub-words, special ones included.
    length : int
        Tokens that the encoder reads at once.

    Returns
    -------
    transformers.PreTrainedTokenizerFast
    """
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Punctuation(),
        ]
    )
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL.values()),
        unk_token=SPECIAL["unk"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(iter(texts), trainer)
    ends = [(name, tokenizer.token_to_id(name)) for name in (SPECIAL["cls"], SPECIAL["sep"])]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{SPECIAL['cls']} $A {SPECIAL['sep']}", special_tokens=ends
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=length,
        **{f"{name}_token": token for name, token in SPECIAL.items()},
    )
