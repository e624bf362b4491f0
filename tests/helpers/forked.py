"""Processes that can be killed, forked from one that has imported what they need.

A process of its own for each would import torch and the rest again, which takes longer than what
most of them do.
"""

import multiprocessing

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "clinadapt.deployment.scoring.job",
        "clinadapt.deployment.scoring.database_sink",
        "clinadapt.study.runner",
        "psycopg",
        "sklearn.linear_model",
        "transformers.models.bert.modeling_bert",
        "transformers.models.bert.tokenization_bert",
    ]
)
