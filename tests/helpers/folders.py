"""Encoder folders in the formats of real repositories, small and with random weights."""

import io
from pathlib import Path

import sentencepiece
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

TEXT = (
    "enfant admis pour insuffisance cardiaque aigue avec detresse respiratoire furosemide "
    "milrinone echographie fraction ejection effondree pas de fievre transfert oedeme dyspnee"
)
WORDS = TEXT.split()
CORPUS = [" ".join(WORDS[i:] + WORDS[:i]) for i in range(len(WORDS))] * 4
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 48,
}


def camembert(folder: Path, pickled: bool = False, fast: bool = False, **sizes: int) -> Path:
    """Like camembert-bio and DrBERT: CamembertForMaskedLM and a sentencepiece model.

    DrBERT's weights are pickled only; some repositories add tokenizer.json.
    """
    sentencepiece_file(folder)
    config = transformers.CamembertConfig(
        vocab_size=405, max_position_embeddings=66, pad_token_id=1, **(SIZES | sizes)
    )
    model = transformers.CamembertForMaskedLM(config)
    save(model, folder, pickled)
    if fast:
        transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
    return folder


def sentencepiece_file(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=written,
        vocab_size=90,
        hard_vocab_limit=False,
        model_type="unigram",
        minloglevel=2,
    )
    (folder / "sentencepiece.bpe.model").write_bytes(written.getvalue())


def unigram_bert(folder: Path) -> Path:
    """Like AliBERT as its card describes it: a masked language model, Unigram tokenizer.json."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=special, unk_token="[UNK]", show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = transformers.BertConfig(
        vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=64, **SIZES
    )
    return save(transformers.BertForMaskedLM(config), folder)


def bert(folder: Path, **sizes: int) -> Path:
    """Like BioBERT and Bio_ClinicalBERT: vocab.txt alone, cased."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, "Enfant"]
    pieces += [f"##{letter}" for letter in letters] + WORDS
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(pieces)), encoding="utf-8")
    config = transformers.BertConfig(
        vocab_size=len(pieces), max_position_embeddings=64, **(SIZES | sizes)
    )
    return save(transformers.BertForPreTraining(config), folder)


def modernbert(folder: Path) -> Path:
    """Like BioClinical-ModernBERT and ModernCamemBERT-bio: rotary, local and global layers."""
    vocabulary = byte_level(folder)
    config = transformers.ModernBertConfig(
        vocab_size=vocabulary,
        max_position_embeddings=128,
        local_attention=8,
        global_attn_every_n_layers=2,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        cls_token_id=1,
        sep_token_id=2,
        **SIZES,
    )
    return save(transformers.ModernBertForMaskedLM(config), folder)


def roberta(folder: Path) -> Path:
    """Like CamemBERTv2-bio: RoBERTa with a byte-level tokenizer."""
    config = transformers.RobertaConfig(
        vocab_size=byte_level(folder), max_position_embeddings=66, pad_token_id=0, **SIZES
    )
    return save(transformers.RobertaForMaskedLM(config), folder)


def deberta(folder: Path) -> Path:
    """Relative positions; its layers return tuples."""
    config = transformers.DebertaV2Config(
        vocab_size=byte_level(folder),
        max_position_embeddings=64,
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        type_vocab_size=0,
        **SIZES,
    )
    return save(transformers.DebertaV2ForMaskedLM(config), folder)


def distilbert(folder: Path) -> Path:
    """Other attribute names for the same things."""
    config = transformers.DistilBertConfig(
        vocab_size=byte_level(folder),
        max_position_embeddings=64,
        dim=32,
        n_layers=3,
        n_heads=2,
        hidden_dim=48,
    )
    return save(transformers.DistilBertForMaskedLM(config), folder)


def llama(folder: Path) -> Path:
    """A decoder."""
    config = transformers.LlamaConfig(
        vocab_size=byte_level(folder), max_position_embeddings=64, **SIZES
    )
    return save(transformers.LlamaForCausalLM(config), folder)


def gpt2(folder: Path) -> Path:
    """A decoder with learned positions, its linear layers of a class of their own."""
    config = transformers.GPT2Config(
        vocab_size=byte_level(folder), n_positions=64, n_embd=32, n_layer=3, n_head=2, n_inner=48
    )
    return save(transformers.GPT2LMHeadModel(config), folder)


def longformer(folder: Path) -> Path:
    """Like Clinical-Longformer: local attention, for which the model itself pads a batch."""
    config = transformers.LongformerConfig(
        vocab_size=byte_level(folder),
        max_position_embeddings=98,
        attention_window=[16] * 3,
        pad_token_id=1,
        **SIZES,
    )
    return save(transformers.LongformerForMaskedLM(config), folder)


def electra(folder: Path) -> Path:
    """Embeddings are narrower than the layers."""
    config = transformers.ElectraConfig(
        vocab_size=byte_level(folder), embedding_size=16, max_position_embeddings=64, **SIZES
    )
    return save(transformers.ElectraForPreTraining(config), folder)


def mobilebert(folder: Path) -> Path:
    """Embeddings of three tokens next to each other, narrower than the layers."""
    config = transformers.MobileBertConfig(
        vocab_size=byte_level(folder),
        embedding_size=16,
        intra_bottleneck_size=16,
        max_position_embeddings=64,
        **SIZES,
    )
    return save(transformers.MobileBertForMaskedLM(config), folder)


def fnet(folder: Path) -> Path:
    """Fourier transforms in place of attention, which read the padding too."""
    config = transformers.FNetConfig(
        vocab_size=byte_level(folder), max_position_embeddings=64, **SIZES
    )
    return save(transformers.FNetForMaskedLM(config), folder)


def mpnet(folder: Path) -> Path:
    """Positions begin after the padding index, and attention has relative ones as well."""
    config = transformers.MPNetConfig(
        vocab_size=byte_level(folder), max_position_embeddings=66, pad_token_id=1, **SIZES
    )
    return save(transformers.MPNetForMaskedLM(config), folder)


def opt(folder: Path) -> Path:
    """Like OPT-350m: a decoder whose output is narrower than its layers."""
    config = transformers.OPTConfig(
        vocab_size=byte_level(folder),
        word_embed_proj_dim=16,
        do_layer_norm_before=False,
        ffn_dim=48,
        max_position_embeddings=64,
        pad_token_id=1,
        **{name: SIZES[name] for name in SIZES if name != "intermediate_size"},
    )
    return save(transformers.OPTForCausalLM(config), folder)


def albert(folder: Path) -> Path:
    """All layers are one."""
    config = transformers.AlbertConfig(
        vocab_size=byte_level(folder), embedding_size=16, max_position_embeddings=64, **SIZES
    )
    return save(transformers.AlbertForMaskedLM(config), folder)


def xlnet(folder: Path) -> Path:
    """No limit of positions; its layers read tokens before sequences."""
    config = transformers.XLNetConfig(
        vocab_size=byte_level(folder), d_model=32, n_layer=3, n_head=2, d_inner=48
    )
    return save(transformers.XLNetLMHeadModel(config), folder)


def byte_level(folder: Path) -> int:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return int(tokenizer.get_vocab_size())


def save(model: torch.nn.Module, folder: Path, pickled: bool = False) -> Path:
    model.save_pretrained(folder)
    if pickled:
        weights = model.state_dict()
        (folder / "model.safetensors").unlink()
        torch.save(weights, folder / "pytorch_model.bin")
    return folder


ENCODERS = {
    "camembert": camembert,
    "unigram_bert": unigram_bert,
    "bert": bert,
    "modernbert": modernbert,
    "roberta": roberta,
    "deberta": deberta,
    "distilbert": distilbert,
    "longformer": longformer,
    "electra": electra,
    "mpnet": mpnet,
}
DECODERS = {"llama": llama, "gpt2": gpt2, "opt": opt}
FROZEN_ONLY = {"albert": albert, "xlnet": xlnet}
PADDING_MATTERS = {"mobilebert": mobilebert, "fnet": fnet}
