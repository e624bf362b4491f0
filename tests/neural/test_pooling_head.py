"""The mean over tokens is computed in fp32, whatever the precision of the rest."""

import torch

from clinadapt.neural.pooling_head import masked_mean


def test_the_mean_is_not_rounded_to_16_bit_under_autocast():
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(4, 200, 16, generator=generator)
    mask = torch.arange(200) < torch.tensor([[200], [150], [3], [77]])
    for features in (hidden, hidden.bfloat16()):
        expected = torch.stack(
            [row[kept].double().mean(dim=0) for row, kept in zip(features, mask, strict=True)]
        )
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mean = masked_mean(features, mask)
        assert mean.dtype == torch.float32
        torch.testing.assert_close(mean.double(), expected, atol=1e-6, rtol=1e-5)
