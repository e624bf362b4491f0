"""Stacking of two parts: arithmetic, weights of zero, and notes that need both parts."""

import numpy as np
import pytest
from fitted_models import LABELS, TEXTS, build, fitted
from scipy.optimize import minimize
from scipy.special import expit, softmax
from sklearn.metrics import log_loss

from clinadapt import NoteClassifier, PretrainedModel, StackedModel, TfidfLogistic
from clinadapt.core.errors import InputError
from clinadapt.core.run_context import Context, Ledger
from clinadapt.data.labels import Labels, from_single
from clinadapt.models import registry
from clinadapt.models.stacked import EQUAL, WEIGHTS, blend, fit_weights, logits


def test_the_blend_by_hand():
    """Odds multiply: (3/1)^2 x (1/4)^0.5 = 4.5, so 4.5 / 5.5."""
    weights = np.array([2.0, 0.5])
    pair = logits("binary", np.array([[0.25, 0.75]])), logits("binary", np.array([[0.8, 0.2]]))
    assert blend("binary", weights, *pair)[0] == pytest.approx([1 / 5.5, 4.5 / 5.5])
    pair = logits("multilabel", np.array([[0.75]])), logits("multilabel", np.array([[0.2]]))
    assert blend("multilabel", weights, *pair)[0] == pytest.approx([4.5 / 5.5])
    # Three classes: 0.5 x 0.2, 0.3 x 0.2, 0.2 x 0.6 are 0.10, 0.06, 0.12, of 0.28 in all.
    pair = [logits("multiclass", np.array([p])) for p in ([0.5, 0.3, 0.2], [0.2, 0.2, 0.6])]
    probabilities = blend("multiclass", np.array([1.0, 1.0]), *pair)
    assert probabilities[0] == pytest.approx([10 / 28, 6 / 28, 12 / 28])


@pytest.mark.parametrize("task", LABELS)
def test_certain_probabilities_have_a_logit(task):
    certain = logits(task, np.array([[0.0, 1.0]]))
    assert np.isfinite(certain).all()
    assert np.isfinite(blend(task, np.array([3.0, 3.0]), certain, certain)).all()


@pytest.mark.parametrize("task", LABELS)
def test_with_one_weight_of_zero_the_other_part_decides(task, encoder_folders):
    model = fitted(build("stacked", encoder_folders), task).model_
    for weights, part in (([1.0, 0.0], model.sparse_), ([0.0, 1.0], model.encoder_)):
        model.weights_ = np.array(weights)
        np.testing.assert_allclose(
            model.predict_proba(TEXTS), part.predict_proba(TEXTS), rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("task", LABELS)
def test_the_parts_are_the_models_by_themselves(task, encoder_folders):
    model = fitted(build("stacked", encoder_folders), task).model_
    alone = fitted(TfidfLogistic(), task).model_
    assert np.array_equal(model.sparse_.predict_proba(TEXTS), alone.predict_proba(TEXTS))
    alone = fitted(build("pretrained", encoder_folders), task).model_
    assert np.array_equal(model.encoder_.predict_proba(TEXTS), alone.predict_proba(TEXTS))
    assert model.history_ == model.encoder_.history_


def parts_and_labels(task, seed=0, notes=200):
    """Return labels and logits of two parts: the first is better, the second overconfident."""
    generator = np.random.default_rng(seed)
    truth = generator.normal(size=(notes, 3))
    matrix = truth > 0 if task == "multilabel" else truth.argmax(1)[:, None] == np.arange(3)
    sparse = truth + generator.normal(size=truth.shape)
    encoder = 5 * (truth + 2 * generator.normal(size=truth.shape))
    as_probabilities = expit if task == "multilabel" else lambda x: softmax(x, axis=1)
    labels = Labels(task, np.arange(3), matrix)
    return labels, logits(task, as_probabilities(sparse)), logits(task, as_probabilities(encoder))


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_weights_against_another_minimum(task):
    """Compare with a search without gradients on scikit-learn's log-loss."""
    labels, sparse, encoder = parts_and_labels(task)

    def loss(values):
        weights, offsets = values[:2], values[2:]
        probabilities = blend(
            task, np.array([1.0, 1.0]), weights[0] * sparse + offsets, weights[1] * encoder
        )
        penalty = 0.5 * ((weights - 0.5) ** 2).sum()
        if task == "multiclass":
            return log_loss(labels.target, probabilities, normalize=False) + penalty
        pairs = zip(labels.matrix.T, probabilities.T, strict=True)
        return sum(log_loss(y, p, normalize=False) for y, p in pairs) + penalty

    fitted_weights = fit_weights(labels, sparse, encoder)
    options = {"xatol": 1e-7, "fatol": 1e-9, "maxiter": 5000, "maxfev": 5000}
    other = minimize(loss, [1.0, 1.0, 0, 0, 0], method="Nelder-Mead", options=options).x
    assert fitted_weights == pytest.approx(other[:2], abs=1e-3)
    # The scale of a part does not matter: five times the logits get a fifth of the weight.
    louder = fit_weights(labels, sparse, 5 * encoder)
    assert 5 * louder[1] == pytest.approx(fitted_weights[1], rel=0.05)


def test_weights_are_never_negative_and_few_notes_leave_them_near_equal():
    labels, sparse, encoder = parts_and_labels("multilabel")
    assert fit_weights(labels, sparse, -encoder)[1] == 0
    none = Labels("multilabel", labels.classes, labels.matrix[:0])
    assert np.array_equal(fit_weights(none, sparse[:0], encoder[:0]), EQUAL)
    # Notes that both predict correctly do not make the weights infinite.
    right = np.where(labels.matrix[:5], 1.0, -1.0)
    few = fit_weights(labels.take(np.arange(5)), right, right)
    assert few[0] == pytest.approx(few[1])
    assert 0.5 < few[0] < 2


def test_weights_do_not_depend_on_how_common_a_class_is():
    """Use parts that rate every validation note negative, though most are positive."""
    generator = np.random.default_rng(0)
    truth = np.arange(40) % 8 > 0
    probability = expit(np.where(truth, -2.0, -4.0) + generator.normal(size=40))
    part = logits("binary", np.stack([1 - probability, probability], axis=1))
    weights = fit_weights(Labels("binary", np.arange(2), np.stack([~truth, truth], 1)), part, part)
    assert weights.sum() > 0.5
    positive = truth == truth[0]  # all of one class: nothing to learn the weights from
    single = Labels("binary", np.arange(2), np.stack([positive, ~positive], 1)).take(
        np.flatnonzero(positive)
    )
    assert fit_weights(single, part[positive], part[positive]) == pytest.approx(EQUAL, abs=0.05)


def test_without_validation_notes_both_weigh_the_same(encoder_folders):
    model = build("stacked", encoder_folders).fit(TEXTS, LABELS["binary"])
    assert np.array_equal(model.weights_, EQUAL)


def test_decisions_of_other_fits_are_taken(encoder_folders):
    model = fitted(build("stacked", encoder_folders), "binary").model_
    decisions = model.decisions()
    assert [decisions[name] for name in WEIGHTS] == model.weights_.tolist()
    again = build("stacked", encoder_folders).decide({**decisions, "epochs": 1.4})
    again.fit(TEXTS, LABELS["binary"])
    assert np.array_equal(again.weights_, model.weights_)
    assert len(again.history_) == 1


def test_truncated_notes_are_counted_once(encoder_folders):
    counted = {}
    for family in ("pretrained", "stacked"):
        ledger = Ledger()
        values = {"max_tokens": 6} | ({"tuned_layers": "all"} if family == "pretrained" else {})
        if family == "stacked":
            values["encoder_options"] = {"epochs": 1, "tuned_layers": "all"}
        classifier = fitted(
            build(family, encoder_folders, **values), "binary", Context(ledger=ledger)
        )
        counted[family] = (classifier.truncated_, ledger.truncated_notes)
    assert counted["stacked"] == counted["pretrained"]
    assert counted["stacked"][0] == {"train": 36, "validation": 12}


def test_problems_of_both_parts_are_reported_together():
    values = {
        "encoder_options": {"adapter": "grn", "max_tokens": 3},
        "tfidf_options": {"C": -1.0, "refit": True},
    }
    with pytest.raises(InputError) as raised:
        registry.build("stacked", values)
    text = str(raised.value)
    for expected in (
        "tfidf_options: TfidfLogistic: C = -1.0",
        "tfidf_options: 'refit' would fit on the validation notes",
        "encoder_options: 'max_tokens' is a setting of StackedModel itself",
    ):
        assert expected in text
    with pytest.raises(InputError, match="encoder_options: unknown adapter 'grn'"):
        registry.build("stacked", {"encoder_options": {"adapter": "grn"}})
    with pytest.raises(InputError, match="did you mean 'tuned_layers'"):
        StackedModel(encoder_options={"tunned_layers": 1}).fit(TEXTS, LABELS["binary"])


def half_each(seed, notes):
    """Return notes that are positive by the order of their first words and their last word."""
    generator = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(notes):
        first, second = generator.integers(2, size=2)
        order = "fever after surgery" if first else "surgery after fever"
        word = generator.choice(["anemia", "edema"] if second else ["rash", "cough"])
        texts.append(f"{order} . the patient was then seen with {word}")
        labels.append(int(first and second))
    return texts, labels


def test_notes_that_need_both_parts(minilm):
    """Word counts ignore the order, and the encoder does not read the end of the note."""
    texts, labels = half_each(0, 320)
    tests, truth = half_each(1, 200)
    shared = {"epochs": 30, "learning_rate": 0.01, "adapter": "none"}
    models = {
        "sparse": TfidfLogistic(words=1),
        "encoder": PretrainedModel(str(minilm), max_tokens=6, **shared),
        "stacked": StackedModel(
            str(minilm), max_tokens=6, encoder_options=shared, tfidf_options={"words": 1}
        ),
    }
    right, sure = {}, {}
    target = from_single(truth).target
    for name, model in models.items():
        classifier = NoteClassifier(model, validation_fraction=0.25).fit(texts, labels)
        right[name] = (classifier.predict(tests) == np.array(truth)).mean()
        sure[name] = log_loss(target, classifier.predict_proba(tests))
    assert right["stacked"] > max(right["sparse"], right["encoder"]) + 0.1
    assert right["stacked"] > 0.95
    assert sure["stacked"] < min(sure["sparse"], sure["encoder"])
