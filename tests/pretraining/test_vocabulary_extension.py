"""Words added to a tokenizer: their choice, their embeddings, and that nothing else changes."""

import json

import pytest
import torch
from folders import bert, camembert
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from clinadapt import NoteClassifier, PretrainedModel
from clinadapt.data.text_store import Texts
from clinadapt.features.encoders.pretrained import PretrainedEncoder, quiet
from clinadapt.pretraining import trainer, vocabulary_extension
from clinadapt.pretraining.corpus import read_corpus
from clinadapt.pretraining.pretrain import make_encoder
from clinadapt.pretraining.special_tokens import open_tokenizer
from clinadapt.pretraining.trainer import PretrainingRecipe
from clinadapt.pretraining.vocabulary_extension import (
    add_words,
    choose_words,
    tokens_per_word,
    widen,
)

LENGTH = 32
FAST = PretrainingRecipe(batch_tokens=8 * LENGTH, learning_rate=3e-3, device="cpu")
NEW = ["gliflozine", "sortie"]
ODD = [
    "enfant admis,  pour   insuffisance\tcardiaque.\n",
    "  (de fievre) pas: oedeme; dyspnee",
    "de",
    "gliflozinesque sorties",
    "",
    " \n",  # contains new words as parts
]


def opened(folder):
    from transformers import AutoModelForMaskedLM

    with quiet():
        model = AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float32).eval()
        return open_tokenizer(PretrainedEncoder(folder), LENGTH), model


def ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False).input_ids


def test_words_are_ranked_by_the_tokens_that_they_save(encoder_folders):
    """The tokenizer knows letters and few words, so other words have as many pieces as letters."""
    tokenizer = open_tokenizer(PretrainedEncoder(encoder_folders["bert"]), LENGTH)
    text = "abcd abce abc, abc. abcdef1 " + "ab " * 50 + "enfant admis "
    texts = Texts.of([text + "abcdefg " * 5 * (number < 9) for number in range(10)])
    # abc saves 2 * 20, abcd and abce 3 * 10 each; abcdefg is in 9 texts, ab has two pieces.
    assert choose_words(tokenizer, texts, 10) == ["abc", "abcd", "abce"]
    assert choose_words(tokenizer, texts, 2) == ["abc", "abcd"]


def test_words_are_counted_as_the_tokenizer_normalises_them():
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1, "##a": 2}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    from transformers import PreTrainedTokenizerFast

    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")
    texts = Texts.of(["Aaa", "áaa"] * 5)
    assert choose_words(wrapped, texts, 10) == ["aaa"]
    assert tokens_per_word(wrapped, texts) == 3
    assert tokens_per_word(add_words(wrapped, ["aaa"]), texts) == 1


def untied(folder):
    from transformers import AutoModelForMaskedLM

    bert(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    torch.manual_seed(0)
    with quiet():
        model = AutoModelForMaskedLM.from_pretrained(folder)
    torch.nn.init.normal_(model.get_output_embeddings().weight)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("make", [bert, camembert, untied])
def test_a_words_embedding_starts_as_the_mean_of_its_pieces(make, tmp_path):
    tokenizer, model = opened(make(tmp_path / "encoder"))
    torch.nn.init.normal_(model.get_output_embeddings().bias)
    rows = model.config.vocab_size
    before = model.get_input_embeddings().weight.detach().clone()
    read = torch.tensor([ids(tokenizer, "enfant admis pour insuffisance")])
    with torch.no_grad():
        logits = model(input_ids=read).logits
    extended = add_words(tokenizer, NEW)
    assert widen(model, tokenizer, extended) == 2
    # CamemBERT's test folder has more rows than tokens.
    assert model.config.vocab_size == max(rows, len(extended))
    assert (model.config.vocab_size > rows) == (make is not camembert)
    with torch.no_grad():
        after = model(input_ids=read).logits
    for word in NEW:
        pieces, row = ids(tokenizer, f" {word}"), extended.convert_tokens_to_ids(word)
        assert len(pieces) >= 3
        assert torch.equal(model.get_input_embeddings().weight[row], before[pieces].mean(0))
        # The output is linear in its rows: a word's logit is the mean of its pieces'.
        assert torch.allclose(after[..., row], logits[..., pieces].mean(-1), atol=1e-5)
    assert torch.allclose(after[..., : len(tokenizer)], logits[..., : len(tokenizer)], atol=1e-6)


@pytest.mark.parametrize("name", ["bert", "camembert", "unigram_bert"])
def test_texts_without_a_new_word_are_encoded_as_before(name, encoder_folders):
    tokenizer, model = opened(encoder_folders[name])
    extended = add_words(tokenizer, NEW)
    tokens = [ids(tokenizer, text) for text in ODD]
    assert [ids(extended, text) for text in ODD] == tokens
    assert extended.all_special_ids == tokenizer.all_special_ids
    with torch.no_grad():
        before = [model.base_model(torch.tensor([row])).last_hidden_state for row in tokens if row]
        widen(model, tokenizer, extended)
        after = [model.base_model(torch.tensor([row])).last_hidden_state for row in tokens if row]
    assert all(map(torch.equal, before, after))


@pytest.mark.parametrize("name", ["bert", "camembert", "unigram_bert"])
def test_a_new_word_is_one_token_and_its_neighbours_do_not_change(name, encoder_folders):
    tokenizer = open_tokenizer(PretrainedEncoder(encoder_folders[name]), LENGTH)
    extended = add_words(tokenizer, NEW)
    row = extended.convert_tokens_to_ids("sortie")
    # The token stands for " sortie", so the tokens before and after the word do not change.
    for text, left, right in (
        ("pas de sortie, transfert", "pas de", " pas, transfert"),
        ("sortie de fievre", "", "pas de fievre"),
        ("pas de sortie.", "pas de", " pas."),
    ):
        neighbour = ids(tokenizer, "pas")
        rest = ids(tokenizer, right)
        assert rest[: len(neighbour)] == neighbour
        assert ids(extended, text) == [*ids(tokenizer, left), row, *rest[len(neighbour) :]]


@pytest.fixture(scope="module")
def corpus(small_table):
    return read_corpus(small_table)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """CamemBERT without dropout."""
    folder = camembert(tmp_path_factory.mktemp("begun"))
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def more(begun, corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("more") / "encoder"
    return out, extended_encoder(begun, corpus, out)


def extended_encoder(begun, corpus, out, **options):
    return make_encoder(
        corpus, out, start=str(begun), add_words=20, length=LENGTH, recipe=FAST, steps=6, **options
    )


def test_the_folder_is_an_encoder_like_any_other(more, corpus, small_table):
    from transformers import AutoModel, AutoTokenizer

    out, record = more
    extension = record["extension"]
    assert extension["words"] == record["add_words"] == 20
    assert extension["tokens_per_word_after"] < 0.95 * extension["tokens_per_word_before"]
    model, tokenizer = AutoModel.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    own = PretrainedEncoder(out)
    for text in list(corpus.train)[:20]:
        assert tokenizer(text).input_ids == own.tokenizer.encode(text).ids
    assert model(**tokenizer("une sortie", return_tensors="pt")).last_hidden_state.isfinite().all()
    texts, labels = small_table["text"].to_list()[:60], small_table["label"].to_list()[:60]
    classifier = NoteClassifier(PretrainedModel(str(out), max_tokens=LENGTH, epochs=1))
    assert classifier.fit(texts, labels).predict(texts[:3]).shape == (3,)


class KilledError(Exception):
    pass


def test_a_killed_training_resumes_with_the_same_words(more, begun, corpus, tmp_path, monkeypatch):
    def kill_at(step):
        def progress(_, done, __):
            if done == step:
                raise KilledError

        return progress

    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0)
    out = tmp_path / "killed"
    for step in (1, 4):  # before the first checkpoint, and after one
        with pytest.raises(KilledError):
            extended_encoder(begun, corpus, out, progress=kill_at(step))
        # The tokenizer exists by now, so that words are not chosen again.
        monkeypatch.setattr(vocabulary_extension, "choose_words", None)
    assert (out / "training" / "checkpoint.pt").is_file()
    killed = extended_encoder(begun, corpus, out)
    _, whole = more
    assert killed["extension"] == whole["extension"]
    for one, other in zip(killed["log"], whole["log"], strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)
