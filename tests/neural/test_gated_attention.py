"""Gated attention over the notes of a patient."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from clinadapt.core.run_context import Context
from clinadapt.data.labels import Labels
from clinadapt.models.neural_base import fit_classifier, probabilities
from clinadapt.neural.gated_attention import GatedAttention, PatientNetwork, PatientSource
from clinadapt.neural.pooling_head import Head
from clinadapt.neural.training.batch_sources import VectorSource
from clinadapt.neural.training.loop import Recipe, run

CPU = torch.device("cpu")


def test_weights_by_hand():
    attention = GatedAttention(1, 1)
    with torch.no_grad():
        for layer, weight, bias in ((attention.content, 1.0, 0.0), (attention.gate, 0.0, 0.0)):
            layer.weight.fill_(weight)
            layer.bias.fill_(bias)
        attention.score.weight.fill_(2.0)
    notes = torch.tensor([[[0.5], [-1.0], [9.0]]])
    mask = torch.tensor([[True, True, False]])
    # The gate is 1/2 everywhere, so that scores are tanh(0.5) and tanh(-1).
    raised = np.exp([np.tanh(0.5), np.tanh(-1.0)])
    expected = raised / raised.sum()
    assert attention.weights(notes, mask)[0].tolist() == pytest.approx([*expected, 0.0])
    found = attention(notes, mask).item()
    assert found == pytest.approx(0.5 * expected[0] - 1.0 * expected[1])


def test_order_and_padding_do_not_matter():
    torch.manual_seed(0)
    network = PatientNetwork(GatedAttention(6, 4), Head(6, 2), 6).eval()
    vectors = torch.randn(9, 6)
    together = PatientSource(vectors, np.array([0, 2, 9]))
    batch = together.batch(np.array([1, 0]))
    assert batch.mask.sum(dim=1).tolist() == [7, 2]
    assert torch.equal(batch.inputs[0], vectors[2:])
    scores = run(network, together, CPU, torch.float32)
    turned = PatientSource(vectors.flip(0), np.array([0, 7, 9]))
    torch.testing.assert_close(run(network, turned, CPU, torch.float32).flip(0), scores)
    alone = run(network, PatientSource(vectors[:2], np.array([0, 2])), CPU, torch.float32)
    torch.testing.assert_close(alone[0], scores[0])


def test_it_finds_the_note_that_tells_where_the_mean_does_not():
    """One of 15 notes of a positive patient is shifted; the label is known of patients only."""
    generator = np.random.default_rng(0)
    patients, notes, width = 600, 15, 12
    positive = generator.random(patients) < 0.5
    vectors = generator.normal(size=(patients, notes, width)).astype(np.float32)
    vectors[positive, generator.integers(notes, size=patients)[positive], :3] += 4.0
    train, test = np.arange(400), np.arange(400, patients)

    def area(source_of, network):
        source, held = (source_of(vectors[rows]) for rows in (train, test))
        labels = Labels("binary", np.array(["0", "1"]), np.column_stack([~positive, positive]))
        recipe = Recipe(epochs=30, batch_size=32, learning_rate=3e-3)
        fit_classifier(
            network, source, labels.take(train), None, None, "none", recipe, CPU, Context()
        )
        outputs = run(network, held, CPU, torch.float32)
        return roc_auc_score(positive[test], probabilities("binary", outputs)[:, 1])

    def notes_of(table):
        first = np.arange(len(table) + 1) * notes
        return PatientSource(torch.from_numpy(table.reshape(-1, width)), first)

    class OfMean(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = Head(width, 2)

        def forward(self, batch):
            return self.head(batch.inputs[:, 0]), batch.inputs.new_zeros(())

    torch.manual_seed(0)
    attended = area(notes_of, PatientNetwork(GatedAttention(width, 16), Head(width, 2), width))
    averaged = area(lambda table: VectorSource(table.mean(axis=1)), OfMean())
    assert attended > 0.95
    assert attended > averaged + 0.05
