import pytest
import torch
from torch import nn

from hive_mtl.errors import ConfigError
from hive_mtl.learn import backbones
from learning import assert_exported_is_exact

SMALL = {"name": "resnet", "channels": 4, "blocks": (1, 2, 1, 1), "embedding_dim": 7}


def make(mels: int, **settings: object) -> nn.Module:
    """A small trunk whose statistics are not those of a fresh one."""
    torch.manual_seed(0)
    trunk = backbones.make(backbones.parse_config({**SMALL, **settings}), mels)
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return trunk.eval()


@pytest.mark.slow
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("mels", [1, 17, 24])
def test_whatever_the_stride_and_the_mels_padding_does_not_matter(stride: int, mels: int) -> None:
    trunk = make(mels, stem_stride=stride)
    frames = torch.arange(1, 41)
    features = torch.randn(len(frames), mels, 45)
    for row, count in zip(features, frames, strict=True):
        row[:, count:] = 0.0
    together = trunk(features, frames)
    for row, count in enumerate(frames):
        alone = trunk(features[row : row + 1, :, :count], frames[row : row + 1])
        torch.testing.assert_close(together[row], alone[0], atol=1e-5, rtol=1e-4)


def test_by_default_it_is_the_resnet34_of_speaker_recognition() -> None:
    trunk = backbones.make(backbones.parse_config("resnet"), 80)
    convolutions = [m for m in trunk.modules() if isinstance(m, nn.Conv2d)]
    of_3x3 = [m for m in convolutions if m.kernel_size == (3, 3)]
    assert len(of_3x3) == 33  # and one linear layer
    assert len(convolutions) - len(of_3x3) == 3
    assert [m.out_channels for m in of_3x3[1::2]] == [32] * 3 + [64] * 4 + [128] * 6 + [256] * 3
    assert trunk.project[1].in_features == 2 * 256 * 10  # an eighth of the mels


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"channels": 0}, "channels"),
        ({"blocks": (3, 4, 6)}, "blocks"),
        ({"stem_stride": 3}, "stem"),
    ],
)
def test_a_size_that_cannot_be_is_refused(settings: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        backbones.parse_config({"name": "resnet", **settings})


@pytest.mark.slow
def test_exported_it_is_exact_for_any_batch(tmp_path) -> None:
    settings = {
        "name": "tiny",
        "mels": 17,
        "trunk": {**SMALL, "stem_stride": 2},
        "tasks": {"gender": {"loss": "softmax"}},
    }
    # Weights are shipped in 16 bits.
    assert_exported_is_exact(settings, make(17, stem_stride=2), tmp_path, atol=1e-4)
