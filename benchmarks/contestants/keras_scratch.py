"""The two from-scratch classifiers of the Keras examples, at their published sizes.

"Text classification with Transformer" and "Text classification with Switch Transformer"
(keras.io/examples/nlp). The first is unchanged Keras 3; the second is ported from Keras 2 to
Keras 3, with the same dispatch through one-hot [token, expert, slot] tensors and the same capacity
of tokens / experts. The vocabulary is counted on the training notes, and the first 200 words of a
note are read.
"""

import re
from collections import Counter
from typing import Any

import keras
import numpy as np
from exchange import Clock, Task, main
from keras import layers, ops
from numpy.typing import NDArray

VOCABULARY, WORDS = 20_000, 200
WIDTH, HEADS, FEED_FORWARD, EXPERTS = 32, 2, 32, 10
PADDING, UNKNOWN = 0, 1


def word_numbers(task: Task) -> dict[str, NDArray[np.int32]]:
    """Return word numbers of each part, shape [note, word], padded in front as in the examples."""
    split = {
        part: [re.findall(r"\w+", text.lower())[:WORDS] for text in task.texts(part)]
        for part in ("train", "validation", "test")
    }
    counts = Counter(word for note in split["train"] for word in note)
    known = [word for word, _ in counts.most_common(VOCABULARY - 2)]
    number = {word: place for place, word in enumerate(known, start=2)}
    padded = {}
    for part, notes in split.items():
        padded[part] = np.full((len(notes), WORDS), PADDING, dtype=np.int32)
        for row, note in zip(padded[part], notes, strict=True):
            if note:
                row[-len(note) :] = [number.get(word, UNKNOWN) for word in note]
    return padded


class Embedding(layers.Layer):  # type: ignore[misc]
    """Sum of a word's and a position's vector."""

    def __init__(self) -> None:
        super().__init__()
        self.words = layers.Embedding(VOCABULARY, WIDTH)
        self.positions = layers.Embedding(WORDS, WIDTH)

    def call(self, numbers: Any) -> Any:
        """Map numbers [note, word] to features [note, word, width]."""
        return self.words(numbers) + self.positions(ops.arange(WORDS))


def feed_forward() -> Any:
    """Dense, ReLU, dense."""
    return keras.Sequential([layers.Dense(FEED_FORWARD, "relu"), layers.Dense(WIDTH)])


class Switch(layers.Layer):  # type: ignore[misc]
    """Experts of limited capacity behind a top-1 router."""

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.capacity = batch_size * WORDS // EXPERTS
        self.route = layers.Dense(EXPERTS)
        self.experts = [feed_forward() for _ in range(EXPERTS)]
        self.noise = keras.random.SeedGenerator(0)

    def call(self, features: Any, training: bool = False) -> Any:
        """Map features [note, word, width] to features of the same shape; adds the balance loss."""
        tokens = ops.reshape(features, (-1, WIDTH))
        scores = self.route(tokens)
        if training:
            scores = scores + keras.random.uniform(ops.shape(scores), 0.9, 1.1, seed=self.noise)
        probabilities = ops.softmax(scores, axis=-1)
        chosen = ops.one_hot(ops.argmax(probabilities, axis=-1), EXPERTS)
        shares = ops.mean(chosen, axis=0) * ops.mean(probabilities, axis=0)
        self.add_loss(ops.mean(shares) * EXPERTS**2)
        place = ops.cumsum(chosen, axis=0) * chosen
        chosen = chosen * ops.cast(place < self.capacity, chosen.dtype)
        # No expert receives tokens beyond its capacity, so their slot does not matter.
        place = ops.minimum(ops.sum(place, axis=-1), self.capacity - 1)
        slots = ops.one_hot(ops.cast(place, "int32"), self.capacity)
        gate = ops.max(probabilities, axis=-1, keepdims=True) * chosen
        combine = gate[:, :, None] * slots[:, None, :]  # [token, expert, slot]
        sent = ops.einsum("tw,tes->esw", tokens, combine)
        out = ops.stack([expert(sent[number]) for number, expert in enumerate(self.experts)])
        return ops.reshape(ops.einsum("esw,tes->tw", out, combine), (-1, WORDS, WIDTH))


def build(mixture: bool, classes: int, batch_size: int) -> Any:
    """Return the compiled model of an example, with a Switch or a dense feed-forward layer."""
    rate, inner = (0.25, FEED_FORWARD) if mixture else (0.1, 20)
    inputs = layers.Input(shape=(WORDS,), dtype="int32")
    features = Embedding()(inputs)
    attended = layers.MultiHeadAttention(num_heads=HEADS, key_dim=WIDTH)(features, features)
    attended = layers.Dropout(0.1)(attended)
    features = layers.LayerNormalization(epsilon=1e-6)(features + attended)
    transformed = (Switch(batch_size) if mixture else feed_forward())(features)
    transformed = layers.Dropout(0.1)(transformed)
    features = layers.LayerNormalization(epsilon=1e-6)(features + transformed)
    pooled = layers.Dropout(rate)(layers.GlobalAveragePooling1D()(features))
    hidden = layers.Dropout(rate)(layers.Dense(inner, activation="relu")(pooled))
    model = keras.Model(inputs, layers.Dense(classes, activation="softmax")(hidden))
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class EpochClock(keras.callbacks.Callback):  # type: ignore[misc]
    """Marks the end of each epoch, which here comes after its validation."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Mark."""
        self.clock.mark()


def run(task: Task, options: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Train and predict."""
    keras.utils.set_random_seed(options["seed"])
    numbers = word_numbers(task)
    model = build(options["mixture"], task.classes, options["batch_size"])
    model.fit(
        numbers["train"],
        task.labels("train"),
        batch_size=options["batch_size"],
        epochs=options["epochs"],
        validation_data=(numbers["validation"], task.labels("validation")),
        callbacks=[EpochClock(clock)],
        verbose=0,
    )
    clock.training_ended()
    return {
        "probabilities": model.predict(numbers["test"], batch_size=256, verbose=0),
        "planned": options["epochs"],
        "trainable": int(sum(np.prod(weight.shape) for weight in model.trainable_weights)),
        "backend": keras.backend.backend(),
    }


if __name__ == "__main__":
    main(run, ("keras", "tensorflow-cpu", "jax", "torch"))
