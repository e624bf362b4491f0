"""Score of the choice itself: in each outer fold, the configuration that leads without its notes.

The scores of single configurations on outer folds are honest, but the highest of many is so partly
by luck. Choosing anew in every fold, as the study chooses, and scoring what was chosen on the notes
left out has no such bias (Varma & Simon 2006).
"""

from collections import Counter
from typing import Any

import numpy as np

from clinadapt.evaluation import metrics
from clinadapt.study.leaderboard import Leaderboard
from clinadapt.study.material import Material
from clinadapt.study.run_store import signed


def nested_choice(board: Leaderboard, material: Material) -> dict[str, Any] | None:
    """Return the score of choosing anew in every outer fold, and how often each one was chosen.

    None if the study is not nested or no configuration is complete.
    """
    metric = board.folders.metric
    configurations = {
        name: done
        for name, runs in board.folders.configurations.items()
        if len(done := board.done(runs)) == len(runs)
    }
    if not material.design.nested or not configurations:
        return None
    labelled = board.test
    shape = labelled.labels.matrix.shape
    probabilities, predicted = np.empty(shape), np.empty(shape, dtype=np.bool_)
    chosen: Counter[str] = Counter()
    for fold, outer in enumerate(material.outer):
        by_name = {
            name: [signed(result["outer_validation"][fold], metric) for result in done]
            for name, done in configurations.items()
        }
        best = max(by_name, key=lambda name: float(np.mean(by_name[name])))
        run = configurations[best][int(np.argmax(by_name[best]))]
        rows = np.searchsorted(material.units.labelled_rows, outer.units.split.test)
        answers = board.predictions([run])[0]
        probabilities[rows], predicted[rows] = answers[0][rows], answers[1][rows]
        chosen[run["configuration"]] += 1
    score = metrics.mean_scores(
        labelled.labels, [(probabilities, predicted)], labelled.clusters, [metric]
    )[metric]
    return {
        "metric": metric,
        **score.to_json(),
        "folds": len(material.outer),
        "chosen": [{"configuration": name, "folds": n} for name, n in chosen.most_common()],
    }
