"""What is measured of an architecture, compared with what is known about it."""

import pytest
import torch
import transformers
from folders import DECODERS, ENCODERS, FROZEN_ONLY, PADDING_MATTERS, SIZES

from clinadapt.core.errors import InputError, UnusableEncoderError
from clinadapt.features.encoders.architecture import measure
from clinadapt.features.encoders.pretrained import PretrainedEncoder

# Positions of the folders' configurations, and where the first one is taken.
POSITIONS = {
    "bert": 64,
    "camembert": 66 - 2,
    "roberta": 66 - 1,
    "longformer": 98 - 2,
    "electra": 64,
    "mpnet": 66 - 2,
    "opt": 64,
    "gpt2": 64,
    "albert": 64,
    "xlnet": None,
}


@pytest.mark.parametrize("name", [*ENCODERS, *DECODERS, *FROZEN_ONLY])
def test_every_folder_is_measured(encoder_folders, name):
    encoder = PretrainedEncoder(encoder_folders[name])
    measured = encoder.architecture
    assert measured.causal == (name in DECODERS)
    assert measured.splits == (name not in FROZEN_ONLY)
    assert measured.width == (16 if name == "opt" else 32)
    assert measured.layer_width == 32
    if name in POSITIONS:
        assert measured.positions == POSITIONS[name]
    assert [encoder.width_at(layer) for layer in (1, 3)] == [32, measured.width]


@pytest.mark.parametrize("name", [name for name, most in POSITIONS.items() if most])
def test_the_longest_input_runs_and_a_longer_one_does_not(encoder_folders, name):
    encoder = PretrainedEncoder(encoder_folders[name])
    model = encoder.load()
    assert encoder.max_tokens == POSITIONS[name]
    ids = torch.full((1, encoder.max_tokens), 9)
    model(input_ids=ids, attention_mask=torch.ones_like(ids))
    # Longformer fills its windows up, so that it is the window that does not fit.
    longer = torch.full((1, encoder.max_tokens + (16 if name == "longformer" else 1)), 9)
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=longer, attention_mask=torch.ones_like(longer))


def test_without_position_embeddings_there_is_no_limit(encoder_folders):
    assert PretrainedEncoder(encoder_folders["xlnet"]).max_tokens == 10**9


@pytest.mark.parametrize("name", PADDING_MATTERS)
def test_an_architecture_that_reads_padding_is_refused(tmp_path, name):
    folder = PADDING_MATTERS[name](tmp_path / name)
    with pytest.raises(UnusableEncoderError, match=r"not served: its features .* padding"):
        PretrainedEncoder(folder).check()


@pytest.mark.parametrize(
    "config",
    [
        transformers.CLIPConfig(),
        transformers.ViTConfig(num_hidden_layers=2, hidden_size=32, num_attention_heads=2),
        transformers.FunnelConfig(
            vocab_size=40, block_sizes=[1, 1], d_model=32, n_head=2, d_head=16, d_inner=48
        ),
    ],
    ids=lambda config: config.model_type,
)
def test_a_model_of_another_kind_is_refused(config):
    with pytest.raises(InputError, match=f"'{config.model_type}' is not served"):
        measure(config)


def test_one_layer_and_a_large_vocabulary():
    config = transformers.BertConfig(
        vocab_size=10**7, pad_token_id=10**6, **(SIZES | {"num_hidden_layers": 1})
    )
    measured = measure(config)
    assert (measured.splits, measured.positions) == (True, 512)
    assert (config.vocab_size, config.pad_token_id) == (10**7, 10**6)


def test_the_callers_random_state_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    measure(transformers.BertConfig(**SIZES))
    assert torch.equal(torch.rand(2), expected)
