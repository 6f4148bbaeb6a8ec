import numpy as np
import pytest
import torch
from torch import nn

import keras_network
from hive_mtl.errors import ConfigError
from hive_mtl.learn import backbones, losses
from hive_mtl.learn.backbones.rescnn import Trunk
from learning import assert_exported_is_exact

CHANNELS = (4, 5, 6)
LENGTHS = torch.arange(1, 41)


def make(mels: int, **settings: object) -> Trunk:
    """A small trunk whose statistics and biases are not those of a fresh one."""
    config = {"name": "rescnn", "embedding_dim": 7, "affine_dim": 6, "channels": CHANNELS}
    torch.manual_seed(0)
    trunk = backbones.make(backbones.parse_config({**config, **settings}), mels)
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.bias)
    return trunk.eval()


def as_keras(trunk: Trunk) -> keras_network.Layers:
    """The trunk's weights by Keras' names and in its shapes."""
    convolutions = [m for m in trunk.modules() if isinstance(m, nn.Conv2d)]
    normalisations = [m for m in trunk.modules() if isinstance(m, nn.BatchNorm2d)]
    layers = {}
    for (name, shape), convolution, normed in zip(
        keras_network.shapes(CHANNELS), convolutions, normalisations, strict=True
    ):
        kernel = convolution.weight.detach().permute(2, 3, 1, 0).numpy()
        layers[name] = [kernel, np.zeros(shape[-1], np.float32)]
        parts = normed.weight, normed.bias, normed.running_mean, normed.running_var
        layers[f"{name}_bn"] = [part.detach().numpy() for part in parts]
    for name, linear in (("affine", trunk.affine), ("shared", trunk.shared)):
        if linear is not None:
            layers[name] = [linear.weight.detach().numpy().T, linear.bias.detach().numpy()]
    return layers


def padded(mels: int, beyond: float) -> torch.Tensor:
    """Features of LENGTHS frames, with noise of that loudness where they end."""
    torch.manual_seed(1)
    features = torch.randn(len(LENGTHS), mels, int(LENGTHS.max()) + 1)
    for row, count in zip(features, LENGTHS, strict=True):
        row[:, count:] *= beyond
    return features


@pytest.mark.parametrize("mels", [8, 13])
def test_it_computes_what_keras_does_for_any_number_of_frames(mels: int) -> None:
    trunk = make(mels)
    layers = as_keras(trunk)
    features = padded(mels, beyond=3.0)
    embeddings = trunk(features, LENGTHS).detach().numpy()
    for embedding, row, count in zip(embeddings, features, LENGTHS, strict=True):
        affine = keras_network.affine(layers, row[:, :count].T.numpy(), CHANNELS)
        expected = keras_network.dense(layers, "shared", keras_network.unit(affine))
        np.testing.assert_allclose(embedding, expected, atol=1e-5)


def test_deep_speakers_embedding_is_the_affine_layer() -> None:
    trunk = make(8, affine_dim=0)
    features = padded(8, beyond=0.0)[-1:]
    expected = keras_network.affine(as_keras(trunk), features[0, :, :40].T.numpy(), CHANNELS)
    np.testing.assert_allclose(
        trunk(features, LENGTHS[-1:]).detach().numpy()[0], expected, rtol=1e-4, atol=1e-5
    )


def test_what_stands_beyond_an_utterance_teaches_nothing() -> None:
    trunk, features = make(8), padded(8, beyond=3.0)[::6].requires_grad_()
    lengths = LENGTHS[::6]
    teacher = torch.randn(len(lengths), 7)
    (trunk(features, lengths) * teacher).sum().backward()
    together = {name: weight.grad.clone() for name, weight in trunk.named_parameters()}
    trunk.zero_grad()
    for row, count, wanted in zip(features, lengths, teacher, strict=True):
        (trunk(row.detach()[None, :, :count], count[None]) * wanted).sum().backward()
    for name, weight in trunk.named_parameters():
        torch.testing.assert_close(weight.grad, together[name], atol=1e-3, rtol=1e-3)
    for grad, count in zip(features.grad, lengths, strict=True):
        assert grad[:, :count].any()
        assert not grad[:, count:].any()


def test_statistics_move_as_slowly_as_in_keras() -> None:
    trunk = make(8).train()
    (normed, *_) = (m for m in trunk.modules() if isinstance(m, nn.BatchNorm2d))
    before, seen = normed.running_mean.clone(), []
    normed.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].mean(dim=(0, 2, 3))))
    trunk(padded(8, beyond=0.0), LENGTHS)
    torch.testing.assert_close(normed.running_mean, 0.99 * before + 0.01 * seen[0])


def test_by_default_it_has_the_size_of_the_original() -> None:
    trunk = backbones.make(backbones.parse_config("rescnn"), 64)
    normed = sum(np.prod(shape) + 2 * shape[-1] for _, shape in keras_network.shapes())
    dense = (2048 * 512 + 512) + (512 * 1024 + 1024)
    assert sum(parameter.numel() for parameter in trunk.parameters()) == normed + dense


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"channels": []}, "channels"),
        ({"channels": [4, 0]}, "channels"),
        ({"affine_dim": -1}, "affine_dim"),
    ],
)
def test_a_size_that_cannot_be_is_refused(settings: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        backbones.parse_config({"name": "rescnn", **settings})


def test_a_softmax_head_may_have_a_linear_layer_before_its_classes() -> None:
    config = losses.parse_config({"name": "softmax", "hidden": 9})
    head = losses.make(config, [1] * 4).head(5, 4)
    first, second = head
    assert (first.weight.shape, second.weight.shape) == ((9, 5), (4, 9))
    given = torch.randn(3, 5)
    torch.testing.assert_close(head(given), second(first(given)))
    plain = losses.make(losses.parse_config("softmax"), [1] * 4).head(5, 4)
    assert plain.weight.shape == (4, 5)


@pytest.mark.slow
def test_exported_it_is_exact_for_any_batch(tmp_path) -> None:
    settings = {
        "name": "tiny",
        "front_end": "original",
        "mels": 64,
        "trunk": {"name": "rescnn", "channels": CHANNELS, "affine_dim": 6, "embedding_dim": 7},
        "tasks": {"gender": {"loss": "softmax"}},
    }
    assert_exported_is_exact(settings, make(64), tmp_path, atol=1e-5)
