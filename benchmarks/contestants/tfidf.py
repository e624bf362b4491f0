"""scikit-learn's TF-IDF under its logistic regression."""

from typing import Any

from exchange import Clock, Task, main
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


def run(task: Task, options: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Fit and predict."""
    vectorizer = dict(options["vectorizer"])
    if "ngram_range" in vectorizer:
        vectorizer["ngram_range"] = tuple(vectorizer["ngram_range"])  # JSON has no tuples
    regression = LogisticRegression(max_iter=2000, **options["regression"])
    pipeline = make_pipeline(TfidfVectorizer(**vectorizer), regression)
    pipeline.fit(task.texts("train"), task.labels("train"))
    clock.training_ended()
    return {
        "probabilities": pipeline.predict_proba(task.texts("test")),
        "planned": 0,
        "trainable": regression.coef_.size + regression.intercept_.size,
    }


if __name__ == "__main__":
    main(run, ("scikit-learn",))
