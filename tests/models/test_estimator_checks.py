"""scikit-learn's own checks of a classifier, on numbers that are written as words.

All of them read tables of numbers, which `NoteClassifier` refuses: here each number becomes a few
words, so that the rest (labels, attributes, cloning, pickling, refusals) is checked as it is.
"""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, validate_data

from clinadapt import NoteClassifier

LONGEST = 20


class NumbersAsNotes(NoteClassifier):
    """Classifier of rows of numbers, each spelled by its column, its sign and its size."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array, tags.input_tags.two_d_array = False, True
        tags.input_tags.string = False
        return tags

    def fit(self, X, y, groups=None):
        return super().fit(self._notes(X, reset=True), y, groups)

    def predict_proba(self, X):
        check_is_fitted(self)
        return super().predict_proba(self._notes(X, reset=False))

    def _notes(self, X, reset):
        return [self._note(row) for row in validate_data(self, X, reset=reset).tolist()]

    @staticmethod
    def _note(row):
        words = ["note"]
        for number, value in enumerate(row):
            sign = "minus" if value < 0 else "plus"
            sizes = (int(min(abs(value) * scale, LONGEST)) for scale in (1, 3))
            words += [f"column{number}{sign}{'x' * size}" for size in sizes]
        return " ".join(words)


@pytest.mark.filterwarnings("ignore:the names of the classes do not say:UserWarning")
@parametrize_with_checks([NumbersAsNotes()])
def test_scikit_learn_s_checks(estimator, check):
    check(estimator)
