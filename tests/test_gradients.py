import pytest
import torch

from hive_mtl.learn.gradients import gradient_cosines


def test_losses_that_agree_and_losses_that_do_not() -> None:
    vector = torch.randn(4, 3, requires_grad=True)
    losses = {
        "one": vector.sum(),
        "same": 7 * vector.sum(),
        "against": -vector.sum(),
        "half": vector[:2].sum(),  # half of the rows have a label
        "silent": 0 * vector.sum(),
    }
    cosines = gradient_cosines(losses, vector)
    assert cosines["gradient_cosine/one/same"] == pytest.approx(1)
    assert cosines["gradient_cosine/one/against"] == pytest.approx(-1)
    assert cosines["gradient_cosine/one/half"] == pytest.approx(0.5**0.5)
    assert not any("silent" in pair for pair in cosines)


def test_the_losses_can_still_be_learnt_from() -> None:
    vector = torch.randn(2, 3, requires_grad=True)
    losses = {"one": vector.square().sum(), "two": vector.sum()}
    gradient_cosines(losses, vector)
    (losses["one"] + losses["two"]).backward()
    assert vector.grad is not None
    torch.testing.assert_close(vector.grad, 2 * vector.detach() + 1)
