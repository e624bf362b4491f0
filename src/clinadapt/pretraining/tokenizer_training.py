"""Training of a tokenizer on the corpus, for use with transformers."""

from typing import Any

from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from clinadapt.data.text_store import Texts

SPECIAL = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
LETTERS = 400  # number of known characters, the most frequent ones
# An elided article keeps its apostrophe ("l'", "d'"); other punctuation is a token of its own.
ELISION, MARK = Regex("['’]"), Regex(r"[^\w\s'’]")


def learn_vocabulary(texts: Texts, size: int, length: int) -> Any:
    """Train a tokenizer (WordPiece, Schuster & Nakajima 2012; lower case, accents kept).

    Parameters
    ----------
    texts : Texts
    size : int
        Number of sub-words, special ones included.
    length : int
        Maximum number of tokens of a sequence.

    Returns
    -------
    transformers.PreTrainedTokenizerFast
    """
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordPiece(unk_token=SPECIAL["unk"]))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Split(ELISION, "merged_with_previous"),
            pre_tokenizers.Split(MARK, "isolated"),
        ]
    )
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL.values()),
        limit_alphabet=LETTERS,
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
