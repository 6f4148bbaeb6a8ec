"""The page of the demonstration: one file without anything to fetch, from a story."""

import base64
import json
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hive_mtl.atomic import atomic_write
from hive_mtl.evaluate.bootstrap import Estimate
from hive_mtl.evaluate.verification import Verification
from hive_mtl.faces.demo import charts, material
from hive_mtl.faces.demo.embedding_map import draw_map
from hive_mtl.faces.demo.story import Comparison, Portrait, Recording, Story, duration
from hive_mtl.pages import environment

_MOST_ODDS = 5  # alternatives of one answer


def write_page(story: Story, path: Path) -> Path:
    """Writes the page.

    Raises:
        MissingExtraError: Jinja is not installed.
        DataError: the file cannot be written.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(render(story), encoding="utf-8")
    return path


def render(story: Story) -> str:
    """The page as HTML: styles, script, pictures and sound are all inside it."""
    from markupsafe import Markup

    pages = environment()
    pages.filters["duration"] = duration
    judged = story.report.verification[0]
    verdicts = [pair.verdict for pair in story.comparisons if pair.verdict is not None]
    threshold = verdicts[0].threshold if verdicts else None  # of all sides, as quality is not asked
    clips = [_sound(recording) for recording in story.recordings]
    return pages.get_template("faces/demo/page.html").render(
        story=story,
        tasks=_listed([head.task for head in story.description.heads if not head.withheld]),
        figures=list(_figures(story)),
        facts=_facts(story),
        judged=judged,
        diagram=Markup(story.architecture),
        genders={each.labels.get("gender") for each in story.recordings},
        map=Markup(draw_map(story.recordings)),
        charts=[Markup(chart) for chart in _charts(judged, threshold)],
        comparisons=[_comparison(each) for each in story.comparisons],
        portraits=[_portrait(each) for each in story.portraits],
        clips=Markup(json.dumps(clips)),
    )


def _charts(judged: Verification, threshold: float | None) -> tuple[str, ...]:
    """The DET curve and the scores, where there were trials."""
    if judged.curve is None or judged.eer is None:
        return ()
    det = charts.det_curve(judged.curve, judged.eer.value)
    return det, charts.score_histogram(judged.curve, threshold)


def _figures(story: Story) -> Iterator[dict[str, str]]:
    """The figures at the top: title, value, note."""
    judged, identified = story.report.verification[0], story.report.identification[0]
    if judged.eer is not None:
        note = f"same voice or not, {judged.speakers} unseen voices{_interval(judged.eer)}"
        yield {"title": "equal error rate", "value": f"{judged.eer.value:.1%}", "note": note}
    if identified.top1 is not None:
        note = f"which voice of {identified.speakers}, one enrolled recording each"
        note += _interval(identified.top1)
        yield {"title": "identified", "value": f"{identified.top1.value:.0%}", "note": note}
    for attribute in story.report.attributes:
        if attribute.value is None or attribute.corpus != judged.corpus:
            continue
        interval = _interval(attribute.value, attribute.unit)
        value, note = f"{attribute.value.value:.0%}", f"{attribute.metric}{interval}"
        if not attribute.classes:
            value = f"{attribute.value.value:.1f}"
            note = f"{attribute.unit}, {attribute.metric}{interval}"
        yield {"title": attribute.task, "value": value, "note": note}


def _listed(words: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _interval(estimate: Estimate, unit: str = "") -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    if unit:
        return f"; 95% interval {estimate.low:.1f} to {estimate.high:.1f}"
    return f"; 95% interval {100 * estimate.low:.1f} to {estimate.high:.1%}"


def _facts(story: Story) -> dict[str, str]:
    described = story.description
    return {
        "Model": described.model_id,
        "Trunk": f"{described.trunk}, {described.parameters:,} parameters",
        "Embedding": f"{described.embedding_dim} numbers of unit length",
        "Git revision": described.git_revision,
        "Made": described.created.replace("T", " ").replace("+00:00", " UTC"),
        "Machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "Python": platform.python_version(),
        "Full figures": "evaluation/report.md beside this page",
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    pair = comparison
    kind = "One voice, recorded twice" if pair.same else "Two voices"
    threshold = None if pair.verdict is None else pair.verdict.threshold
    return {
        "kind": kind,
        "left": _sound(pair.left),
        "right": _sound(pair.right),
        "sentence": pair.sentence(),
        "check": pair.check(),
        "correct": pair.correct,
        "score": pair.score,
        "threshold": threshold,
    }


def _portrait(portrait: Portrait) -> dict[str, Any]:
    answers = []
    for task, answer in portrait.answers.items():
        shown = list(answer.alternatives.items())[:_MOST_ODDS]
        value = str(answer.value)
        if answer.interval is not None:
            value += f" (between {answer.interval[0]:g} and {answer.interval[1]:g})"
        label = portrait.recording.labels.get(task)
        answers.append({"task": task, "value": value, "label": label, "odds": shown})
    return {
        "voice": portrait.recording.voice,
        "sound": _sound(portrait.recording),
        "answers": answers,
    }


def _sound(recording: Recording) -> str:
    """A clip as a data URI."""
    encoded = base64.b64encode(material.clip(recording.source)).decode()
    return f"data:audio/mpeg;base64,{encoded}"
