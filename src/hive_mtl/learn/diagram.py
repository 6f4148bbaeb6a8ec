"""The architecture of a trained model as a picture: speech, shared layers, embedding, task heads.

Everything that is written in it is read off the model: the layers by running it once on silence,
the rest from its description. The picture is SVG that follows the light or dark scheme of where it
is shown: alone as a file, or inside a page that sets ``--ink``, ``--muted``, ``--line``,
``--surface`` and ``--accent``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor, nn

from hive_mtl.description import HeadDescription, ModelDescription
from hive_mtl.learn import checkpoint as checkpoints
from hive_mtl.learn.export import describe

EXAMPLE_S = 3.0
_MOST_LAYERS = 9  # side by side; beyond, neighbours that are alike are drawn as one

_HEIGHT = 360
_MIDDLE = 178.0  # the line that everything hangs on
_TIMES = "\N{MULTIPLICATION SIGN}"
_FONT = "ui-sans-serif, system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
_STYLE = """
.hive-diagram { font-family: %s; font-size: 14px; }
.hive-diagram text { fill: var(--ink, #1f1c17); text-anchor: middle; }
.hive-diagram .title { font-weight: 650; font-size: 15px; }
.hive-diagram .small { fill: var(--muted, #6b6459); font-size: 13px; }
.hive-diagram .panel { fill: var(--surface, #fff); stroke: var(--line, #ddd6c9); }
.hive-diagram .layer { fill: var(--accent, #a84b00); }
.hive-diagram .wire { fill: none; stroke: var(--muted, #6b6459); stroke-width: 1.5; }
.hive-diagram .later { stroke-dasharray: 4 4; }
@media (prefers-color-scheme: dark) {
  svg.hive-diagram:root { --ink: #efeae0; --muted: #a89f90; --line: #3b362e; --surface: #1f1c18;
    --accent: #f3b24a; background: #171512; }
}
"""


@dataclass(frozen=True)
class Layer:
    """A part of the shared layers: its name, what one recording becomes in it, its weights.

    ``shape`` is ``(channels, frames)``, or ``(channels,)`` once time has been pooled away.
    """

    name: str
    shape: tuple[int, ...]
    parameters: int


def trace_layers(trunk: nn.Module, mels: int) -> list[Layer]:
    """Runs a trunk on ``EXAMPLE_S`` seconds of silence and notes what each of its parts gives."""
    layers: list[Layer] = []
    hooks = [
        part.register_forward_hook(partial(_note, layers, name)) for name, part in _parts(trunk)
    ]
    frames = int(EXAMPLE_S * 100)
    training = trunk.training
    try:
        with torch.inference_mode():
            trunk.eval()(torch.zeros(1, mels, frames), torch.tensor([frames]))
    finally:
        trunk.train(training)
        for hook in hooks:
            hook.remove()
    return layers


def draw_checkpoint(path: Path) -> str:
    """The picture of a trained model: ``path`` is a checkpoint, or the folder of a run.

    Raises:
        ModelError: there is none, or it is damaged.
    """
    trained = checkpoints.load(path)
    model = trained.model()
    return draw(describe(trained), trace_layers(model.trunk, model.front_end.mels))


def draw(description: ModelDescription, layers: Sequence[Layer] = ()) -> str:
    """The picture as one ``<svg>`` element."""
    if len(layers) > _MOST_LAYERS:
        layers = _merged(layers)
    panel_left = 330.0
    panel_width = max(200.0, 24.0 + 78.0 * len(layers))
    embedding_left = panel_left + panel_width + 40
    heads_left = embedding_left + 160
    width = heads_left + 230
    parts = [
        _speech(20),
        _arrow(140, 170),
        _features(170),
        _arrow(290, panel_left),
        _shared(description, layers, panel_left, panel_width),
        _arrow(panel_left + panel_width, embedding_left),
        _embedding(description, embedding_left),
        _heads(description, embedding_left + 116, heads_left),
    ]
    summary = _summary(description, layers)
    return (
        f'<svg class="hive-diagram" xmlns="http://www.w3.org/2000/svg" role="img"'
        f' viewBox="0 0 {width:.0f} {_HEIGHT}" aria-label="{escape(summary)}">'
        f"<style>{_STYLE % _FONT}</style>{''.join(parts)}</svg>"
    )


def _parts(trunk: nn.Module) -> list[tuple[str, nn.Module]]:
    """The direct children by name; a list of modules counts as its members, numbered from 1."""
    parts: list[tuple[str, nn.Module]] = []
    for name, child in trunk.named_children():
        if isinstance(child, nn.ModuleList):
            parts += [(f"{name.removesuffix('s')} {n}", part) for n, part in enumerate(child, 1)]
        else:
            parts.append((name, child))
    return parts


def _note(
    layers: list[Layer], name: str, part: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor
) -> None:
    shape = tuple(size for size in output.shape[1:] if size != 1)
    layers.append(Layer(name, shape, sum(weight.numel() for weight in part.parameters())))


def _merged(layers: Sequence[Layer]) -> list[Layer]:
    """Neighbours of one shape and one kind of name become one layer."""
    merged = []
    for (kind, _), group in groupby(layers, key=lambda each: (each.name.split()[0], each.shape)):
        alike = list(group)
        name = alike[0].name if len(alike) == 1 else f"{len(alike)} {_TIMES} {kind}"
        merged.append(replace(alike[0], name=name, parameters=sum(e.parameters for e in alike)))
    return merged


def _summary(description: ModelDescription, layers: Sequence[Layer]) -> str:
    heads = ", ".join(head.task for head in description.heads) or "none"
    names = ", ".join(layer.name for layer in layers)
    return (
        f"Architecture of {description.model_id}: speech, mel features, shared layers"
        f" {description.trunk} ({names}) with {_count(description.parameters)} parameters, a"
        f" unified embedding of {description.embedding_dim} numbers, and task heads: {heads}."
    )


def _speech(left: float) -> str:
    """A made-up waveform: two bursts."""
    bars = []
    for index in range(30):
        envelope = abs(math.sin(math.pi * index / 15)) * (1.0 if index < 15 else 0.7)
        height = 4 + 66 * envelope * (0.45 + 0.55 * abs(math.sin(2.4 * index)))
        bars.append(_box("layer", (left + 4 * index, _MIDDLE - height / 2, 2.5, height), 1.2))
    return "".join(bars) + _caption(left + 60, "speech", "16 kHz, mono")


def _features(left: float) -> str:
    """A made-up spectrogram."""
    cells = []
    for row in range(8):
        for column in range(12):
            strength = 0.12 + 0.8 * (((row * 5 + column * 3 + row * column) % 11) / 11) ** 2
            cell = (left + 10 * column, _MIDDLE - 40 + 10 * row, 9, 9)
            cells.append(_box("layer", cell, 0, strength))
    return "".join(cells) + _caption(left + 60, "features", "mel bands")


def _shared(
    description: ModelDescription, layers: Sequence[Layer], left: float, width: float
) -> str:
    middle = left + width / 2
    size = f"{description.trunk}, {_count(description.parameters)} parameters"
    parts = [
        _box("panel", (left, 18, width, _HEIGHT - 36), 14),
        _text(middle, 46, "shared layers", "title"),
        _text(middle, 66, size, "small"),
    ]
    if layers:
        ends = f"M{left + 20} {_MIDDLE} H{left + width - 20}"
        note = f"channels {_TIMES} frames for {EXAMPLE_S:g} s of speech, and weights"
        parts.append(f'<path class="wire" d="{ends}"/>')
        parts.append(_text(middle, _HEIGHT - 32, note, "small"))
    widest = max((layer.shape[0] for layer in layers), default=1)
    for index, layer in enumerate(layers):
        parts.append(_layer(layer, left + 12 + 78 * (index + 0.5), widest))
    return "".join(parts)


def _layer(layer: Layer, middle: float, widest: int) -> str:
    """As tall as it has channels, and thin where time has been pooled away."""
    height = 24 + 116 * layer.shape[0] / widest
    width = 40 if len(layer.shape) > 1 else 12
    shape = f" {_TIMES} ".join(str(axis) for axis in layer.shape)
    return (
        _box("layer", (middle - width / 2, _MIDDLE - height / 2, width, height), 4)
        + _text(middle, _HEIGHT - 92, layer.name)
        + _text(middle, _HEIGHT - 74, shape, "small")
        + _text(middle, _HEIGHT - 57, _count(layer.parameters), "small")
    )


def _embedding(description: ModelDescription, left: float) -> str:
    middle = left + 58
    parts = [
        _box("panel", (left, 46, 116, 268), 14),
        _text(middle, 70, "unified", "title"),
        _text(middle, 87, "embedding", "title"),
        _text(middle, 282, f"{description.embedding_dim} numbers"),
        _text(middle, 300, "unit length", "small"),
    ]
    for row in range(20):
        strength = 0.2 + 0.8 * ((row * 7 + row * row * 3) % 17) / 17
        parts.append(_box("layer", (middle - 9, _MIDDLE - 80 + 8 * row, 18, 7), 1.5, strength))
    return "".join(parts)


def _heads(description: ModelDescription, start: float, left: float) -> str:
    """One box a head; that of the speakers is dashed, since only training needs it."""
    rows = [(head.task, _answers(head), "") for head in description.heads]
    if description.data:
        rows.insert(0, ("speaker", "voices, only in training", " later"))
    gap = min(74.0, (_HEIGHT - 36) / max(1, len(rows)))
    parts = []
    for index, (task, answers, later) in enumerate(rows):
        middle = _MIDDLE + gap * (index - (len(rows) - 1) / 2)
        bend = f"C{start + 30} {_MIDDLE} {left - 30} {middle} {left} {middle}"
        parts += [
            f'<path class="wire{later}" d="M{start} {_MIDDLE} {bend}"/>',
            _box("panel" + later, (left, middle - 24, 210, 48), 10),
            _text(left + 105, middle - 3, task, "title"),
            _text(left + 105, middle + 14, answers, "small"),
        ]
    return "".join(parts)


def _answers(head: HeadDescription) -> str:
    if head.kind == "ordinal":
        return f"{head.low:g} to {head.high:g} {head.unit}".strip()
    if len(head.classes) <= 3:
        return ", ".join(head.classes)
    return f"{len(head.classes)} classes"


def _arrow(start: float, end: float) -> str:
    tip = end - 6
    return f'<path class="wire" d="M{start + 6} {_MIDDLE} H{tip} m-6 -5 l6 5 l-6 5"/>'


def _box(
    kind: str, place: tuple[float, float, float, float], rounding: float, opacity: float = 1.0
) -> str:
    x, y, width, height = place
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
        f' rx="{rounding}" opacity="{opacity:.2f}"/>'
    )


def _caption(middle: float, name: str, detail: str) -> str:
    return _text(middle, 246, name, "title") + _text(middle, 265, detail, "small")


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<text{name} x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _count(number: int) -> str:
    """2_013_456 -> '2.01 M', 5_300 -> '5.3 k'."""
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)
