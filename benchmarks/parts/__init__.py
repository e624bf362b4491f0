"""The parts of the comparison, one per file.

A part defines ``TITLE``, ``INTRODUCTION``, ``NOTES`` (default number of training notes, None for
all), ``UNIT`` of speed ("tokens" or "words"), ``entries(plan)``, the rows of its table, and
``remarks(record)``, sentences on a finished record.
"""

from types import ModuleType

from benchmarks.parts import adapterhub, frozen, gpu, lora, scratch, sentence, sparse, tuned

PARTS: dict[str, ModuleType] = {
    "frozen": frozen,
    "tuned": tuned,
    "lora": lora,
    "adapterhub": adapterhub,
    "sentence": sentence,
    "scratch": scratch,
    "sparse": sparse,
    "gpu": gpu,
}
