"""What trunks of frames share: padding taken away, and pooling over time."""

import torch
from torch import Tensor, nn


class AttentiveStatistics(nn.Module):
    """Weighted mean and standard deviation over time (Okabe et al., 2018, arXiv:1803.10963).

    The weights of a frame, one a channel, depend on the frame and on the mean and the standard
    deviation of the whole utterance.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.of_frame = nn.Linear(channels, hidden)
        self.of_utterance = nn.Linear(2 * channels, hidden, bias=False)
        self.score = nn.Linear(hidden, channels)

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """``(batch, channels, 1, frames)`` -> ``(batch, 2 * channels)`` float32."""
        frames = hidden.permute(0, 2, 3, 1).squeeze(1)  # (batch, frames, channels)
        inside = torch.ones_like(frames[:1, :, :1]) if mask is None else mask[:, 0, 0, :, None]
        context = weighted_statistics(frames, inside / inside.sum(dim=1, keepdim=True))
        # In rows, where ONNX Runtime adds the bias as it multiplies.
        rows, count = frames.flatten(0, 1), frames.shape[1]
        scores = self.of_frame(rows).unflatten(0, (-1, count))
        scores = torch.tanh(scores + self.of_utterance(context).unsqueeze(1))
        scores = self.score(scores.flatten(0, 1)).unflatten(0, (-1, count)).float()
        if mask is not None:
            scores = scores.masked_fill(inside == 0, -torch.inf)
        return weighted_statistics(frames, scores.softmax(dim=1))


def weighted_statistics(frames: Tensor, weights: Tensor) -> Tensor:
    """``(batch, frames, channels)`` -> mean and deviation ``(batch, 2 * channels)`` in float32."""
    with torch.autocast(frames.device.type, enabled=False):
        frames = frames.float()
        weighted = frames * weights
        mean = weighted.sum(dim=1)
        variance = (weighted * frames).sum(dim=1) - mean.square()
        return torch.cat([mean, variance.clamp(min=1e-5).sqrt()], dim=1)


def masked(hidden: Tensor, mask: Tensor | None) -> Tensor:
    """``hidden``, zero where the mask is; no mask where nothing stands beyond an utterance."""
    return hidden if mask is None else hidden * mask.to(hidden.dtype)
