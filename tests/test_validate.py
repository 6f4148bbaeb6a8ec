"""What a run is chosen and calibrated by."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hive_mtl.learn import validate
from learning import CORPUS, utterances


def of_channels(monkeypatch: pytest.MonkeyPatch, sessions: str) -> validate.Validation:
    """The figures of a network that hears nothing but channels, a new one for every session.

    Every voice has utterances of these sessions.
    """
    rows: list[dict[str, Any]] = [
        {"path": f"{voice}-{number}.wav", "speaker": voice, "session": f"{voice}-{session}"}
        for voice in "abcde"
        for number, session in enumerate(sessions)
    ]
    seconds_and_kind = {"duration_s": 3.0, "same_recording": None}
    table = utterances([{**row, **seconds_and_kind} for row in rows])
    _, channel = np.unique([row["session"] for row in rows], return_inverse=True)
    vectors = np.eye(channel.max() + 1, dtype=np.float32)[channel]
    monkeypatch.setattr(validate, "_run", lambda *_: (vectors, {}))
    prepared: Any = SimpleNamespace(table=table)
    model: Any = None
    return validate.validate(model, prepared, [])


def test_knowing_channels_again_is_worth_nothing_where_voices_have_two_sessions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert of_channels(monkeypatch, "xxxxy").eer == {CORPUS: pytest.approx(0.5)}


def test_with_one_session_each_there_are_no_other_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert of_channels(monkeypatch, "xxxx").eer == {CORPUS: 0.0}
