"""The parts of the comparison, one a file.

A part has ``TITLE``, ``INTRODUCTION``, ``NOTES`` (training notes by default, None for all),
``UNIT`` ("tokens" or "words": what its speed is counted in), ``entries(plan)``, the rows, and
``remarks(record)``, sentences that follow from a finished record.
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
