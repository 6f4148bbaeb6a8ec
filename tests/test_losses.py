import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from hive_mtl.errors import ConfigError
from hive_mtl.learn import losses, registry
from hive_mtl.learn.losses._base import ABSENT, TaskLoss

CLASSES, DIM = 3, 8
COUNTS = [30, 5, 1]
KNOWN = registry.names(losses)


def make(name: str, **config: object) -> TaskLoss:
    return losses.make(losses.parse_config({"name": name, **config}), COUNTS)


def example(loss: TaskLoss, rows: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    """What the loss reads of labelled rows, with a gradient, and their targets."""
    torch.manual_seed(seed)
    embeddings = functional.normalize(torch.randn(rows, DIM), dim=1) * math.sqrt(DIM)
    read = embeddings if loss.reads == "embedding" else loss.head(DIM, CLASSES)(embeddings)
    targets = torch.arange(rows) % CLASSES
    if loss.targets == "thresholds":
        targets = (targets.unsqueeze(1) >= torch.arange(CLASSES)).float()
    return read.detach().requires_grad_(), targets


def absent(loss: TaskLoss, rows: int) -> Tensor:
    if loss.targets == "thresholds":
        return torch.full((rows, CLASSES), torch.nan)
    return torch.full((rows,), ABSENT)


@pytest.mark.parametrize("name", KNOWN)
class TestEveryLoss:
    def test_is_a_positive_scalar_with_a_gradient(self, name: str) -> None:
        loss = make(name)
        read, targets = example(loss)
        value = loss(read, targets)
        value.backward()
        assert value.shape == ()
        assert value > 0
        assert torch.isfinite(read.grad).all()
        assert read.grad.any()

    def test_without_labels_is_exactly_zero_and_so_is_its_gradient(self, name: str) -> None:
        loss = make(name)
        read, _ = example(loss)
        value = loss(read, absent(loss, len(read)))
        value.backward()
        assert value.item() == 0.0
        assert not read.grad.any()

    def test_rows_without_labels_change_nothing(self, name: str) -> None:
        loss = make(name)
        read, targets = example(loss)
        more, _ = example(loss, rows=4, seed=1)
        with_more = loss(torch.cat([read, more]), torch.cat([targets, absent(loss, 4)]))
        torch.testing.assert_close(with_more, loss(read, targets))
        with_more.backward()
        assert not more.grad.any()

    def test_order_of_the_rows_does_not_matter(self, name: str) -> None:
        loss = make(name)
        read, targets = example(loss)
        order = torch.randperm(len(read))
        torch.testing.assert_close(loss(read[order], targets[order]), loss(read, targets))

    def test_learning_lowers_it(self, name: str) -> None:
        loss = make(name)
        torch.manual_seed(0)
        _, targets = example(loss)
        embedding = torch.randn(len(targets), DIM, requires_grad=True)
        head = loss.head(DIM, CLASSES)
        optimiser = torch.optim.Adam([embedding, *head.parameters()], lr=0.05)
        values = []
        for _ in range(60):
            value = loss(head(functional.normalize(embedding) * math.sqrt(DIM)), targets)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            values.append(value.item())
        assert values[-1] < 0.5 * values[0]

    def test_a_setting_that_it_does_not_have_is_an_error(self, name: str) -> None:
        with pytest.raises(ConfigError, match="nonsense"):
            losses.parse_config({"name": name, "nonsense": 1})


class TestAam:
    def test_equals_the_formula(self) -> None:
        loss = make("aam", margin=0.3, scale=20.0, ramp=[0.0, 0.0])
        torch.manual_seed(1)
        cosines = torch.rand(10, CLASSES) * 1.6 - 0.7  # angles up to pi - margin
        targets = torch.arange(10) % CLASSES
        angles = cosines.double().acos()
        angles[torch.arange(10), targets] += 0.3
        expected = functional.cross_entropy(20.0 * angles.cos(), targets)
        torch.testing.assert_close(loss(20.0 * cosines, targets).double(), expected)

    def test_no_margin_is_scaled_softmax(self) -> None:
        loss = make("aam", margin=0.0, scale=10.0)
        cosines, targets = torch.tensor([[0.5, -0.2, 0.1]]), torch.tensor([0])
        expected = functional.cross_entropy(10.0 * cosines, targets)
        torch.testing.assert_close(loss(10.0 * cosines, targets), expected)

    def test_falls_as_the_own_cosine_rises_at_any_angle(self) -> None:
        loss = make("aam", margin=0.5, scale=10.0, ramp=[0.0, 0.0])
        own = torch.linspace(-1, 1, 401)
        outputs = 10.0 * torch.stack([own, torch.zeros(401), torch.zeros(401)], dim=1)
        values = [loss(row.unsqueeze(0), torch.tensor([0])).item() for row in outputs]
        assert (np.diff(values) <= 0).all()

    @pytest.mark.parametrize("own", [-1.0, 1.0])
    def test_gradient_is_finite_at_the_poles(self, own: float) -> None:
        loss = make("aam", ramp=[0.0, 0.0])
        outputs = (30.0 * torch.tensor([[own, 0.1, 0.2]])).requires_grad_()
        loss(outputs, torch.tensor([0])).backward()
        assert torch.isfinite(outputs.grad).all()

    def test_the_margin_follows_its_schedule(self) -> None:
        loss = make("aam", margin=0.2, ramp=[0.1, 0.5])
        margins = []
        for progress in (0.0, 0.1, 0.3, 0.5, 1.0):
            loss.progress = progress
            margins.append(loss.margin)
        assert margins == pytest.approx([0.0, 0.0, 0.1, 0.2, 0.2])

    def test_an_empty_ramp_is_the_whole_margin_at_once(self) -> None:
        assert make("aam", margin=0.2, ramp=[0.0, 0.0]).margin == 0.2

    def test_a_class_answers_by_its_nearest_centre(self) -> None:
        head = make("aam", sub_centres=2, scale=5.0).head(DIM, CLASSES)
        embedding = torch.randn(4, DIM)
        unit = functional.normalize(embedding)
        centres = functional.normalize(head.weight)
        for name in range(CLASSES):
            expected = 5.0 * (unit @ centres[2 * name : 2 * name + 2].T).amax(dim=1)
            torch.testing.assert_close(head(embedding)[:, name], expected)

    def test_the_head_stays_in_full_precision_under_autocast(self) -> None:
        head = make("aam").head(DIM, CLASSES)
        with torch.autocast("cpu", torch.bfloat16):
            outputs = head(torch.randn(4, DIM).bfloat16())
        assert outputs.dtype == torch.float32
        assert outputs.abs().max() <= 30.0 + 1e-4


class TestSoftmax:
    def test_equals_the_formula(self) -> None:
        outputs, target = torch.tensor([[1.0, 2.0, -1.0]]), torch.tensor([2])
        expected = -math.log(math.exp(-1) / (math.exp(1) + math.exp(2) + math.exp(-1)))
        assert make("softmax")(outputs, target).item() == pytest.approx(expected)


class TestBalanced:
    def test_weights_have_mean_one_over_the_examples(self) -> None:
        weights = make("balanced").weights.numpy()
        assert weights @ COUNTS / sum(COUNTS) == pytest.approx(1.0)
        assert weights[0] < weights[1] < weights[2]

    def test_equals_the_formula(self) -> None:
        loss = make("balanced", beta=0.9)
        effective = np.array([(1 - 0.9**n) / (1 - 0.9) for n in COUNTS])
        weights = 1 / effective
        weights *= sum(COUNTS) / (weights @ COUNTS)
        read, targets = example(loss)
        each = functional.cross_entropy(read, targets, reduction="none").detach().numpy()
        expected = float((each * weights[targets.numpy()]).mean())
        assert loss(read, targets).item() == pytest.approx(expected, rel=1e-5)

    def test_beta_zero_does_not_balance(self) -> None:
        read, targets = example(make("softmax"))
        torch.testing.assert_close(
            make("balanced", beta=0.0)(read, targets), make("softmax")(read, targets)
        )

    @settings(max_examples=50, deadline=None)
    @given(
        counts=st.lists(st.integers(1, 10**7), min_size=1, max_size=20),
        beta=st.sampled_from([0.0, 0.9, 0.999, 0.999999]),
    )
    def test_weights_are_finite_for_any_counts(self, counts: list[int], beta: float) -> None:
        config = losses.parse_config({"name": "balanced", "beta": beta})
        weights = losses.make(config, counts).weights.double()
        assert (weights > 0).all()
        assert float(weights @ torch.tensor(counts).double() / sum(counts)) == pytest.approx(
            1.0, rel=1e-4
        )


class TestOrdinal:
    def test_thresholds_that_the_label_leaves_open_are_ignored(self) -> None:
        loss = make("ordinal")
        outputs = torch.tensor([[2.0, 0.3, -1.0]], requires_grad=True)
        value = loss(outputs, torch.tensor([[1.0, torch.nan, 0.0]]))
        expected = (math.log1p(math.exp(-2)) + math.log1p(math.exp(-1))) / 2
        assert value.item() == pytest.approx(expected)
        value.backward()
        assert outputs.grad[0, 1] == 0.0
        assert outputs.grad[0, 0] < 0 < outputs.grad[0, 2]


class TestTriplet:
    @settings(max_examples=40, deadline=None)
    @given(
        targets=st.lists(st.integers(-1, 3), min_size=1, max_size=12),
        margin=st.sampled_from([0.0, 0.1, 1.0]),
        seed=st.integers(0, 1000),
    )
    def test_equals_brute_force(self, targets: list[int], margin: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        embeddings = rng.standard_normal((len(targets), DIM)).astype(np.float32)
        read = torch.from_numpy(embeddings).requires_grad_()
        value = make("triplet", margin=margin)(read, torch.tensor(targets))
        assert value.item() == pytest.approx(
            self.brute_force(embeddings, targets, margin), abs=1e-5
        )
        value.backward()
        assert torch.isfinite(read.grad).all()

    @staticmethod
    def brute_force(embeddings: np.ndarray, targets: list[int], margin: float) -> float:
        unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
        found = []
        for anchor, own in enumerate(targets):
            positives, negatives = [], []
            for other, label in enumerate(targets):
                if own == ABSENT or label == ABSENT or other == anchor:
                    continue
                (positives if label == own else negatives).append(float(unit[anchor] @ unit[other]))
            if positives and negatives:
                found.append(max(0.0, max(negatives) - min(positives) + margin))
        return float(np.mean(found)) if found else 0.0


def test_an_unknown_loss_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'triplet'"):
        losses.parse_config("tripplet")


def test_a_loss_that_defines_nothing_says_so() -> None:
    bare = TaskLoss(losses.parse_config("softmax"), COUNTS)
    with pytest.raises(NotImplementedError, match="TaskLoss"):
        bare(torch.zeros(1, 1), torch.zeros(1))
