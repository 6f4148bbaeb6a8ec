import pytest
import torch
from torch import nn

from hive_mtl.errors import ConfigError
from hive_mtl.learn import backbones, registry
from hive_mtl.learn.front_ends.log_mel import FrontEnd as LogMel

MELS = 24
KNOWN = registry.names(backbones)


def make(name: str) -> nn.Module:
    torch.manual_seed(0)
    return backbones.make(backbones.parse_config({"name": name, "embedding_dim": 16}), MELS)


@pytest.fixture(scope="module", params=KNOWN)
def trunk(request: pytest.FixtureRequest) -> nn.Module:
    """A trunk after a few training steps' worth of statistics, in evaluation mode."""
    trunk = make(request.param).train()
    frames = torch.tensor([80, 61, 43, 80])
    for _ in range(3):
        trunk(noise(frames), frames)
    return trunk.eval()


def noise(frames: torch.Tensor, beyond: int = 0) -> torch.Tensor:
    """Features of padded utterances: ``(batch, mels, most frames + beyond)``."""
    features = torch.randn(len(frames), MELS, int(frames.max()) + beyond)
    for row, count in zip(features, frames, strict=True):
        row[:, count:] = 0.0
    return features


def test_shape(trunk: nn.Module) -> None:
    frames = torch.tensor([50, 17, 33])
    embedding = trunk(noise(frames), frames)
    assert embedding.shape == (3, 16)
    assert torch.isfinite(embedding).all()


@pytest.mark.parametrize("beyond", [0, 1, 57])
def test_padding_and_neighbours_do_not_matter(trunk: nn.Module, beyond: int) -> None:
    torch.manual_seed(1)
    frames = torch.tensor([50, 17, 33, 2, 1])
    features = noise(frames, beyond)
    together = trunk(features, frames)
    for row, count in enumerate(frames):
        alone = trunk(features[row : row + 1, :, :count], frames[row : row + 1])
        torch.testing.assert_close(together[row], alone[0], atol=1e-5, rtol=1e-4)


def test_the_shortest_utterance_has_an_embedding(trunk: nn.Module) -> None:
    features, frames = LogMel(MELS)(torch.randn(1, 400) * 0.1, torch.tensor([400]))
    assert torch.isfinite(trunk(features, frames)).all()


def test_different_speech_has_different_embeddings(trunk: nn.Module) -> None:
    frames = torch.tensor([60, 60])
    first, second = trunk(noise(frames), frames)
    assert (first - second).abs().max() > 1e-3


@pytest.mark.parametrize("name", KNOWN)
def test_the_gradient_reaches_every_parameter(name: str) -> None:
    trunk = make(name).train()
    frames = torch.tensor([60, 41, 60, 52])
    embedding = trunk(noise(frames), frames)
    (embedding * torch.randn_like(embedding)).sum().backward()
    for label, parameter in trunk.named_parameters():
        assert parameter.grad is not None, label
        assert torch.isfinite(parameter.grad).all(), label
        assert parameter.grad.any(), label


@pytest.mark.parametrize("name", KNOWN)
def test_features_of_bfloat16_autocast_train_too(name: str) -> None:
    trunk = make(name).train()
    frames = torch.tensor([60, 41])
    with torch.autocast("cpu", torch.bfloat16):
        embedding = trunk(noise(frames), frames)
    embedding.float().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in trunk.parameters())


@pytest.mark.parametrize("name", KNOWN)
def test_its_config_says_how_wide_the_embedding_is(name: str) -> None:
    assert backbones.parse_config(name).name == name
    with pytest.raises(ConfigError, match="embedding_dim"):
        backbones.parse_config({"name": name, "embedding_dim": 0})


def test_kernels_of_the_default_trunk_are_odd() -> None:
    with pytest.raises(ConfigError, match=r"kernels.*odd"):
        backbones.parse_config({"name": "separable_tdnn", "kernels": [3, 4]})
