"""TF-IDF under a logistic regression."""

from typing import Any

from benchmarks.contest import OURS, Entry, Plan

TITLE = "TF-IDF and logistic regression"
INTRODUCTION = "All training notes; scikit-learn at its defaults, and at the settings of our row."
NOTES: int | None = None
UNIT = "words"


def entries(plan: Plan) -> list[Entry]:
    """Return the rows of the part."""
    same = {
        "vectorizer": {"ngram_range": [1, 2], "sublinear_tf": True, "min_df": 2},
        "regression": {"C": 10.0, "class_weight": "balanced"},
    }
    plain: dict[str, Any] = {"vectorizer": {}, "regression": {}}
    ours = {"model": "TfidfLogistic", "settings": {}}
    return [
        Entry(OURS, "words and pairs, threshold chosen", "ours", "clinadapt", [ours]),
        Entry("scikit-learn", "defaults", "tfidf", "peers", [plain]),
        Entry("scikit-learn", "the settings of our row", "tfidf", "peers", [same]),
    ]


def remarks(record: dict[str, Any]) -> list[str]:
    """Return no remarks."""
    return []
