"""clinadapt, through its public classifier."""

from typing import Any

import numpy as np
from exchange import Clock, Task, main

from clinadapt import NoteClassifier, PretrainedModel, ScratchModel, TfidfLogistic
from clinadapt.core.run_context import Context
from clinadapt.data.labels import Labels

MODELS = {model.__name__: model for model in (PretrainedModel, ScratchModel, TfidfLogistic)}


def run(task: Task, options: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Fit on the training notes, or (``only_encode``) compute the cached features of all notes.

    All runs of a task share one cache folder, as the runs of a study do.
    """

    def watch(stage: str, done: int, total: int) -> None:
        if stage.startswith("epoch") and done == total:
            clock.mark()

    settings = dict(options["settings"])
    if options["model"] == "PretrainedModel":
        settings |= {"encoder": str(task.encoder), "max_tokens": task.max_tokens}
    cache = task.folder / "cache"
    model = MODELS[options["model"]](**settings)
    classifier = NoteClassifier(model, metric="f1_macro", cache=cache)
    context = Context(cache=cache, progress=watch)
    if options.get("only_encode"):
        classifier.prepare(
            [text for part in ("train", "validation", "test") for text in task.texts(part)], context
        )
        return {"planned": 0, "encode_seconds": context.ledger.encode_seconds}
    classifier.fit_parts(
        task.texts("train"),
        _labels(task, "train"),
        task.texts("validation"),
        _labels(task, "validation"),
        context,
    )
    clock.training_ended()
    return {
        "probabilities": classifier.predict_proba(task.texts("test")),
        "planned": options.get("epochs", 0),
        "trainable": classifier.model_.trainable_parameters_,
        "reused": context.ledger.reused,
    }


def _labels(task: Task, part: str) -> Labels:
    kind = "binary" if task.classes == 2 else "multiclass"
    matrix = np.eye(task.classes, dtype=np.bool_)[task.labels(part)]
    return Labels(kind, np.arange(task.classes), matrix)


if __name__ == "__main__":
    main(run, ("clinadapt", "torch", "transformers", "scikit-learn"))
