"""sentence-transformers embeddings under scikit-learn's logistic regression."""

from typing import Any

import torch
from exchange import Clock, Task, main
from sentence_transformers import SentenceTransformer
from sklearn.linear_model import LogisticRegression


def run(task: Task, options: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Embed the notes once, fit the regression, and predict."""
    dtype = torch.bfloat16 if options["bf16"] else torch.float32
    model = SentenceTransformer(str(task.encoder), model_kwargs={"dtype": dtype})
    model.max_seq_length = task.max_tokens

    def embed(part: str) -> Any:
        return model.encode(task.texts(part), batch_size=options["batch_size"])

    regression = LogisticRegression(max_iter=1000)
    regression.fit(embed("train"), task.labels("train"))
    clock.training_ended()
    return {
        "probabilities": regression.predict_proba(embed("test")),
        "planned": 0,
        "trainable": regression.coef_.size + regression.intercept_.size,
    }


if __name__ == "__main__":
    main(run, ("torch", "transformers", "sentence-transformers", "scikit-learn"))
