"""Contributions add up, point at the right words, and find the deciding one."""

import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from fitted_models import LABELS, PLACES, TEXTS, build, fitted
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import READ, planted
from scipy.special import expit, logit, softmax
from sklearn.feature_extraction.text import TfidfVectorizer

from clinadapt import NoteClassifier, PretrainedModel, ScratchModel, TfidfLogistic
from clinadapt.core.errors import InputError, MissingExtraError
from clinadapt.explain.assertion_status import fold
from clinadapt.explain.explain import METHODS, explain
from clinadapt.explain.integrated_gradients import integrate
from clinadapt.explain.tfidf_attribution import OCCURRENCES
from clinadapt.explain.token_attribution import Reader, attributions, sequences
from clinadapt.explain.words import gather, spans
from clinadapt.features.tokenization import learn_tokenizer, tokenize
from clinadapt.models.aggregated import Aggregated
from clinadapt.models.load import load
from clinadapt.models.registry import BUILT_IN
from clinadapt.neural.note_network import Batch
from clinadapt.neural.pooling_head import masked_mean

HARD = (
    "Enfant admis, pas de fièvre !\r\nOedème : OEDÈME (oedeme) 3,5 kg... d'œdème",
    "de\u0301faut d'oxyge\u0300ne: pas de transfert\r\n\r\npas de transfert",
    "İnsan transfert İİ admis\tenfant_admis a b c ß ΣΑΣ",
)


def parts(explanation):
    return explanation.baseline + explanation.rest + contribution(explanation)


def contribution(explanation):
    return sum(word.contribution or 0.0 for word in explanation.words)


def shown(explanation, word):
    return explanation.text[word.start : word.end]


# ---------------------------------------------------------------- words of a text


def test_words_are_the_readers():
    assert [HARD[0][a:b] for a, b in spans(HARD[0])][:7] == [
        "Enfant", "admis", "pas", "de", "fièvre", "Oedème", "OEDÈME",
    ]  # fmt: skip
    assert [HARD[1][a:b] for a, b in spans(HARD[1])][:3] == ["de\u0301faut", "d", "oxyge\u0300ne"]


def test_pieces_are_shared_by_the_word_characters_they_cover():
    words, rest = gather("ab, cde", [(0, 2, 1.0), (0, 7, 5.0), (2, 4, 0.25), (3, 5, 7.0)])
    assert [(w.start, w.end, w.contribution) for w in words] == [(0, 2, 3.0), (4, 7, 10.0)]
    assert rest == 0.25
    read = np.array([1, 0, 1, 1, 0, 0, 0], dtype=bool)
    words, _ = gather("ab, cde", [(0, 1, 1.0)], read)
    assert [(w.contribution, w.read) for w in words] == [(1.0, True), (None, False)]


# ---------------------------------------------------------------- TF-IDF: exact


@pytest.mark.parametrize("name", OCCURRENCES)
@given(text=st.text(alphabet="abéİ Σß,.'\r\n\t_0\u0301", max_size=40) | st.text(max_size=40))
@settings(max_examples=150, deadline=None)
def test_terms_are_those_that_scikit_learn_counts(name, text):
    kind = {"words": {"ngram_range": (1, 3)}}.get(
        name, {"analyzer": "char_wb", "ngram_range": (3, 5)}
    )
    terms = list(OCCURRENCES[name](text, *kind["ngram_range"]))
    expected = TfidfVectorizer(**kind).build_analyzer()(text)
    assert Counter(term for term, _ in terms) == Counter(expected)
    for term, covered in terms:
        assert all(0 <= start < end <= len(text) for start, end in covered)
        in_text = " ".join(text[start:end] for start, end in covered)
        assert plain(term).strip() in plain(in_text)


def plain(text):
    """Return a text without accents, and with sigmas as within a word."""
    return fold(text).replace("ς", "σ")


@pytest.mark.parametrize("characters", [False, True])
@pytest.mark.parametrize("task", LABELS)
def test_linear_contributions_are_the_decision_function(task, characters):
    classifier = fitted(TfidfLogistic(words=3, characters=characters), task)
    model = classifier.model_
    texts = [*TEXTS[:6], *HARD]
    scores = model.features_.transform(texts) @ model.coefficients_.T + model.intercepts_
    columns = range(len(classifier.classes_))
    for column in columns:
        for row, one in enumerate(explain(classifier, texts, classifier.classes_[column])):
            expected = scores[row, column] if task != "binary" else scores[row, 0] * (-1, 1)[column]
            assert parts(one) == pytest.approx(expected, abs=1e-9)
            assert one.logit == pytest.approx(expected, abs=1e-9)
            assert abs(one.gap) < 1e-9
            assert not one.truncated


def test_linear_contributions_by_hand():
    """Two terms and one pair of words, each in both notes, so every idf is 1."""
    texts = ["fievre forte fievre", "forte fievre forte"]
    classifier = NoteClassifier(TfidfLogistic(words=2))
    labels = LABELS["binary"].take(np.arange(2))
    classifier.fit_parts(texts * 2, labels.join(labels), texts, labels)
    model = classifier.model_
    terms = model.features_.blocks["words"].vocabulary_
    assert set(terms) == {"fievre", "forte", "fievre forte", "forte fievre"}
    model.coefficients_ = np.zeros((1, 4))
    for term, weight in {"fievre": 1.0, "forte": -2.0, "fievre forte": 4.0}.items():
        model.coefficients_[0, terms[term]] = weight
    model.intercepts_ = np.array([0.5])
    (one,) = explain(classifier, ["FIEVRE, forte fievre"])
    twice = 1 + np.log(2)  # sub-linear term frequency
    length = np.sqrt(twice**2 + 1 + 1 + 1)
    fievre, pair = twice / length, 4 / length
    expected = [fievre / 2 + pair / 2, -2 / length + pair / 2, fievre / 2]
    assert [word.contribution for word in one.words] == pytest.approx(expected, abs=1e-12)
    assert one.baseline == 0.5
    assert one.rest == 0


# ---------------------------------------------------------------- integrated gradients


def test_integrated_gradients_of_a_linear_function_are_weight_times_input():
    generator = torch.Generator().manual_seed(0)
    inputs, baseline, weight = (torch.randn(1, 3, 4, generator=generator) for _ in range(3))
    contributions, high, low = integrate(
        lambda x: (x * weight).sum(dim=(1, 2)) + 2.0, inputs, baseline, steps=5
    )
    torch.testing.assert_close(contributions, ((inputs - baseline) * weight)[0].double())
    assert high - low == pytest.approx(float(contributions.sum()), abs=1e-5)
    assert low == pytest.approx(float((baseline * weight).sum()) + 2.0, abs=1e-5)


def test_tokens_of_a_linear_network_by_hand():
    """Mean embedding times a weight: each token contributes its product over the length."""
    tokenizer = learn_tokenizer(["aigu brut calme doux"] * 3, 60)
    embedding = torch.nn.Embedding(tokenizer.get_vocab_size(), 4)
    weight = torch.arange(4.0)

    def scores(batch):
        pooled = masked_mean(embedding(batch.inputs), batch.mask) @ weight
        return torch.stack([pooled * 0, pooled], dim=1)

    reader = Reader(scores, embedding, tokenizer, 16, "head", "binary", torch.device("cpu"))
    (attribution,) = attributions(reader, ["brut, calme"], [1])
    ids = tokenizer.encode("brut, calme").ids
    embedding.requires_grad_(False)
    mean = embedding.weight.mean(dim=0)  # no special tokens: the baseline is the mean vector
    expected = ((embedding(torch.tensor(ids)) - mean) @ weight / len(ids)).tolist()
    assert [value for _, _, value in attribution.pieces] == pytest.approx(expected, abs=1e-6)
    assert [(a, b) for a, b, _ in attribution.pieces] == [(0, 4), (4, 5), (6, 11)]
    assert attribution.baseline == pytest.approx(float(mean @ weight), abs=1e-6)


def check(classifier, explanations):
    """Check that the parts add up, and that the logits are those of the predictions."""
    # Leaving words out one at a time does not add up where words act together.
    is_occlusion = classifier.model_.explained_by in ("occlusion", "note-occlusion")
    for one in explanations:
        assert parts(one) + one.gap == pytest.approx(one.logit, abs=1e-9)
        tolerance = 0.02 * abs(one.logit - one.baseline) + 0.004
        assert is_occlusion or abs(one.gap) < tolerance
    columns = np.array(
        [[str(c) for c in classifier.classes_].index(e.target) for e in explanations]
    )
    expected = classifier.predict_proba([one.text for one in explanations])
    expected = expected[np.arange(len(columns)), columns]
    assert [one.probability for one in explanations] == expected.tolist()
    if classifier.task_ != "multiclass" or is_occlusion:
        from_logits = expit([one.logit for one in explanations])
    else:
        texts = [one.text for one in explanations]
        each = [explain(classifier, texts, name) for name in classifier.classes_]
        logits = np.array([[one.logit for one in named] for named in each]).T
        from_logits = softmax(logits, axis=1)[np.arange(len(columns)), columns]
    np.testing.assert_allclose(from_logits, expected, atol=2e-3)  # cached features come in 16 bit


def test_every_model_names_an_existing_method():
    models = [*(entry.cls for entry in BUILT_IN.values()), Aggregated]
    assert {model.explained_by for model in models} == set(METHODS)


@pytest.mark.parametrize("task", LABELS)
def test_occlusion_is_the_difference_of_log_odds_without_the_word(task):
    classifier = fitted(build("sklearn", {}), task)
    names = [str(name) for name in classifier.classes_]

    def log_odds(text, target):
        return logit(classifier.predict_proba([text])[0, names.index(target)])

    for one in explain(classifier, TEXTS[:3]):
        assert one.logit == pytest.approx(log_odds(one.text, one.target), abs=1e-9)
        assert one.baseline == pytest.approx(log_odds("-", one.target), abs=1e-9)
        for word in one.words:
            without = one.text[: word.start] + " " + one.text[word.end :]
            difference = one.logit - log_odds(without, one.target)
            assert word.contribution == pytest.approx(difference, abs=1e-9)


@pytest.mark.parametrize("task", LABELS)
@pytest.mark.parametrize("name", BUILT_IN)
def test_contributions_add_up(name, task, encoder_folders):
    classifier = fitted(build(name, encoder_folders), task)
    check(classifier, explain(classifier, TEXTS[:3]))


@pytest.mark.parametrize("place", PLACES)
def test_contributions_add_up_wherever_the_adapter_is(place, encoder_folders, tmp_path):
    classifier = fitted(build("pretrained", encoder_folders, **PLACES[place]), "binary")
    explanations = explain(classifier, TEXTS[:2])
    check(classifier, explanations)
    assert any(word.contribution for word in explanations[0].words)
    again = explain(load(classifier.save(tmp_path / "bundle")), TEXTS[:2])
    assert again == explanations


@pytest.mark.parametrize("name", ["camembert", "unigram_bert", "modernbert", "roberta", "deberta",
                                  "distilbert", "llama", "gpt2"])  # fmt: skip
def test_every_architecture_is_served(name, encoder_folders):
    model = PretrainedModel(str(encoder_folders[name]), tuned_layers=1, epochs=1, max_tokens=40)
    classifier = fitted(model, "binary")
    texts = ["Enfant  admis, \r\npas de dyspnée : œdème", TEXTS[0]]
    explanations = explain(classifier, texts)
    check(classifier, explanations)
    tokenizer = classifier.model_.encoder_.tokenizer
    for one in explanations:
        for word in one.words:
            alone = tokenizer.encode(" " + shown(one, word), add_special_tokens=False)
            assert word.read == bool(alone.ids)
    # Tokens lie where the tokenizer puts them: none covers parts of two words.
    _, _, number, where = sequences(
        Reader(None, None, tokenizer, 40, "head", "binary", None), texts[0]
    )
    for token in number[number >= 0]:
        start, end = where[token]
        assert len(texts[0][start:end].split()) <= 1


def test_the_baseline_is_a_note_of_masked_words(encoder_folders):
    classifier = fitted(build("pretrained", encoder_folders, tuned_layers="all"), "binary")
    model = classifier.model_
    (one,) = explain(classifier, TEXTS[:1])
    tokenizer = model.encoder_.tokenizer
    ids = np.array(tokenizer.encode(TEXTS[0]).ids[: model.max_tokens])
    mask = torch.ones(1, len(ids), dtype=torch.bool)
    ids[1:-1] = tokenizer.token_to_id("[MASK]")
    ids[-1] = tokenizer.token_to_id("[SEP]")
    with torch.no_grad():
        scores, _ = model.network_(
            Batch(torch.from_numpy(ids)[None], mask, torch.zeros(1, dtype=torch.int64), 1)
        )
    assert one.baseline == pytest.approx(float(scores[0, 1] - scores[0, 0]), abs=1e-5)


@pytest.mark.parametrize("truncation", ["head", "tail", "head+tail", "windows"])
def test_the_explained_tokens_are_those_that_the_model_reads(truncation, encoder_folders):
    from clinadapt.features.encoders.pretrained import PretrainedEncoder

    tokenizer = PretrainedEncoder(encoder_folders["bert"]).tokenizer
    texts = [TEXTS[0], TEXTS[0] * 3, "a"]
    expected = tokenize(tokenizer, texts, 12, truncation)
    reader = Reader(None, None, tokenizer, 12, truncation, "binary", None)
    sequence = 0
    for text in texts:
        ids, mask, number, where = sequences(reader, text)
        for row in range(len(ids)):
            assert ids[row][mask[row]].tolist() == expected.sequence(sequence).tolist()
            sequence += 1
            own = number[row][number[row] >= 0]
            assert (number[row] >= 0).sum() == mask[row].sum() - 2
            assert all(where[token][0] < where[token][1] for token in own)
    assert sequence == len(expected.lengths)


@pytest.mark.parametrize("truncation", READ)
def test_what_was_not_read_has_no_contribution(truncation):
    text = "Fièvre, fièvre puis fièvre\r\nœdème et fièvre encore"
    note = text.replace(",", "")
    model = ScratchModel(vocabulary=300, max_tokens=5, truncation=truncation, epochs=1)
    classifier = fitted_on(model, [note, note.replace("encore", "admis")] * 10, [0, 1] * 10)
    (one,) = explain(classifier, [note])
    assert [shown(one, word) for word in one.words] == note.split()
    assert [word.read for word in one.words] == [bool(read) for read in READ[truncation]]
    assert [word.contribution is None for word in one.words] == [
        not read for read in READ[truncation]
    ]
    assert one.truncated == (truncation != "windows")
    check(classifier, [one])


def fitted_on(model, texts, labels):
    return NoteClassifier(model, validation_fraction=0.25).fit(texts, labels)


def test_the_routing_of_experts_is_fixed_and_released():
    classifier = fitted(build("moe", {}), "binary")
    encoder = classifier.model_.network_.encoder.eval()
    tokens = torch.arange(12).reshape(2, 6)
    batch = Batch(tokens, torch.ones(2, 6, dtype=torch.bool), torch.arange(2), 2)
    other = replace(batch, inputs=(tokens + 7).repeat(2, 1), mask=batch.mask.repeat(2, 1))
    chosen = []
    router = encoder.mixtures[0].router
    with torch.no_grad():
        free, _, _ = encoder(batch)
        with encoder.routing_held(batch):
            fixed, _, _ = encoder(batch)
            router.register_forward_hook(lambda m, a, scores: chosen.append(scores.argmax(-1)))
            first = encoder.mixtures[0].held.clone()
            encoder(other)
            assert torch.equal(encoder.mixtures[0].held, first)
    torch.testing.assert_close(fixed, free)
    assert not torch.equal(chosen[0][:12], first)  # it would have gone elsewhere
    assert encoder.mixtures[0].held is None


# ---------------------------------------------------------------- what decides is found


SETTINGS = {
    "tfidf-logistic": {},
    "tfidf-mlp": {"epochs": 40, "learning_rate": 0.01},
    "tfidf-autoencoder": {
        **{"inner": 32, "code": 16, "pretrain_epochs": 60, "learning_rate": 0.01},
        "seed": 1,
    },
    "transformer": {"vocabulary": 200, "max_tokens": 16, "epochs": 15},
    "moe": {"vocabulary": 200, "max_tokens": 16, "epochs": 15},
    "pretrained": {"max_tokens": 24, "epochs": 15, "learning_rate": 0.01},
    "stacked": {"max_tokens": 24, "encoder_options": {"epochs": 15, "learning_rate": 0.01}},
    "attention": {"max_tokens": 24, "epochs": 30, "learning_rate": 0.003},
    "private": {"max_tokens": 24, "epochs": 60, "epsilon": 50.0},
    "sklearn": {"estimator": "pipelines:words"},
}


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_planted_word_is_the_strongest(name, minilm):
    of_encoder = ("pretrained", "stacked", "attention", "private")
    encoder = {"encoder": str(minilm)} if name in of_encoder else {}
    values = SETTINGS[name] | encoder
    classifier = NoteClassifier(BUILT_IN[name].build(values)).fit(*planted(0))
    texts, labels = planted(1, 30)
    assert (classifier.predict(texts) == labels).mean() >= 0.9
    positive = [text for text, label in zip(texts, labels, strict=True) if label]
    explanations = explain(classifier, positive[:10])
    top = [shown(one, one.strongest(1)[0]) for one in explanations]
    assert top.count("fever") >= 0.9 * len(top)


# ---------------------------------------------------------------- classes and mistakes


def test_a_class_can_be_asked_for():
    classifier = fitted(TfidfLogistic(), "binary")
    (for_one,), (for_zero,) = (explain(classifier, TEXTS[:1], name) for name in (1, 0))
    assert for_one.target == "1"
    assert for_one.logit == pytest.approx(-for_zero.logit)
    assert for_one.said != for_zero.said
    # Towards the prediction, whichever class is explained.
    assert [(w.start, w.end) for w in for_one.strongest(5)] == [
        (w.start, w.end) for w in for_zero.strongest(5)
    ]
    each = explain(classifier, TEXTS[:2], ["0", "1"])
    assert [one.target for one in each] == ["0", "1"]
    with pytest.raises(InputError, match="unknown class 'x'; known: 0, 1"):
        explain(classifier, TEXTS[:2], "x")


def test_defaults_of_each_task():
    for task, labels in LABELS.items():
        classifier = fitted(TfidfLogistic(), task)
        probabilities = classifier.predict_proba(TEXTS[:5])
        names = [str(name) for name in labels.classes]
        expected = (
            [names[1]] * 5 if task == "binary" else [names[c] for c in probabilities.argmax(1)]
        )
        assert [one.target for one in explain(classifier, TEXTS[:5])] == expected


def test_without_captum_only_the_linear_model_is_explained(monkeypatch):
    linear, neural = fitted(TfidfLogistic(), "binary"), fitted(build("tfidf-mlp", {}), "binary")
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    assert explain(linear, TEXTS[:1])
    with pytest.raises(MissingExtraError, match=r"pip install 'clinadapt\[explain\]'"):
        explain(neural, TEXTS[:1])


def test_an_unknown_model_is_refused(monkeypatch):
    classifier = fitted(TfidfLogistic(), "binary")
    monkeypatch.delitem(METHODS, TfidfLogistic.explained_by)
    message = "TfidfLogistic has explained_by = 'tfidf-linear', an unknown method"
    with pytest.raises(InputError, match=message):
        explain(classifier, TEXTS[:1])
