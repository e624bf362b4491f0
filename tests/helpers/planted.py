"""Notes whose label is decided by one word."""

import numpy as np

READ = {
    "head": [1, 1, 1, 1, 1, 0, 0, 0],
    "tail": [0, 0, 0, 1, 1, 1, 1, 1],
    "head+tail": [1, 1, 1, 0, 0, 0, 1, 1],
    "windows": [1] * 8,
}


def planted(seed, notes=120):
    """Return notes of common words and labels; notes with the word "fever" are positive."""
    generator = np.random.default_rng(seed)
    common = [
        "patient",
        "seen",
        "today",
        "with",
        "stable",
        "vital",
        "signs",
        "and",
        "regular",
        "diet",
        "after",
        "surgery",
    ]
    texts, labels = [], []
    for number in range(notes):
        words = generator.choice(common, 9).tolist()
        words[int(generator.integers(9))] = "fever" if number % 2 else "lunch"
        texts.append(" ".join(words))
        labels.append(number % 2)
    return texts, labels
