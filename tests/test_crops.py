from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hive_mtl.errors import DataError
from hive_mtl.learn.crops import Crops, Epochs, list_crops
from hive_mtl.learn.front_ends import front_end_type, known_front_ends
from hive_mtl.learn.kept import Features, Waves
from hive_mtl.learn.prepare import Prepared, prepare
from learning import utterances
from voices import RATE, voice

COUNTS = (20, 5)
ITEMS = RATE // 2


def prepared_voices(folder: Path, takes: dict[str | None, int]) -> Prepared:
    rows = []
    for speaker, count in takes.items():
        for take in range(count):
            path = folder / f"{speaker}-{take}.wav"
            soundfile.write(path, voice(0.8 + 0.1 * take, seed=take), RATE)
            rows.append({"path": str(path), "speaker": speaker})
    return prepare(utterances(rows), folder / "cache")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    takes = {"ann": 5, "bob": 2, "cyd": 1, None: 2}
    return prepared_voices(tmp_path_factory.mktemp("crops"), takes)


def speakers(prepared: Prepared, crops: Crops) -> Counter[str | None]:
    names = prepared.table["speaker"].to_pylist()
    return Counter(names[row] for row in crops.rows)


def test_every_voice_has_the_same_number_of_crops(prepared: Prepared) -> None:
    lists = list_crops(prepared, COUNTS, ITEMS, seed=0)
    assert speakers(prepared, lists.learnt) == {"ann": 20, "bob": 20, "cyd": 20}
    assert speakers(prepared, lists.monitor) == {"ann": 5, "bob": 5}  # cyd has one utterance


def test_what_is_monitored_is_not_learnt_from(prepared: Prepared) -> None:
    lists = list_crops(prepared, COUNTS, ITEMS, seed=0)
    assert not set(lists.learnt.rows) & set(lists.monitor.rows)
    assert len(set(lists.learnt.rows[:20])) > 1


def test_crops_lie_inside_their_utterances(prepared: Prepared) -> None:
    for crops in vars(list_crops(prepared, COUNTS, ITEMS, seed=0)).values():
        assert (crops.starts >= 0).all()
        ends = crops.starts + np.minimum(ITEMS, prepared.lengths[crops.rows])
        assert (ends <= prepared.lengths[crops.rows]).all()


def test_they_are_drawn_once(prepared: Prepared) -> None:
    first, again = (list_crops(prepared, COUNTS, ITEMS, seed=0) for _ in range(2))
    np.testing.assert_array_equal(first.learnt.starts, again.learnt.starts)
    other = list_crops(prepared, COUNTS, ITEMS, seed=1)
    assert (first.learnt.starts != other.learnt.starts).any()


def test_an_epoch_is_every_crop_once_in_a_new_order() -> None:
    crops = Crops(np.arange(10), np.arange(10) * 7)
    epochs = Epochs(crops, size=3, seed=0)
    assert epochs.steps == 3
    orders = []
    for epoch in range(2):
        batches = [epochs.batch(epoch * 3 + number) for number in range(3)]
        rows = np.concatenate([rows for rows, _ in batches])
        starts = np.concatenate([starts for _, starts in batches])
        assert len(set(rows.tolist())) == 9
        np.testing.assert_array_equal(starts, rows * 7)
        orders.append(rows.tolist())
    assert orders[0] != orders[1]
    np.testing.assert_array_equal(Epochs(crops, 3, 0).batch(4)[0], epochs.batch(4)[0])


@pytest.mark.parametrize("name", known_front_ends())
def test_kept_features_are_those_of_the_network(name: str, tmp_path: Path) -> None:
    """Crops of 16-bit features train the network that later hears waves."""
    wave = np.rint(voice(1.3, seed=3) * 32768) / np.float32(32768)  # as waves are kept
    front_end = front_end_type(name)(24, RATE)
    kept = Features(name, 24, RATE)
    restored = torch.from_numpy(kept.restore(kept.of(wave))).unsqueeze(0)
    frames = torch.tensor([restored.shape[-1]])
    trimmed = Waves(front_end.trim)
    heard = torch.from_numpy(trimmed.restore(trimmed.of(wave))).unsqueeze(0)
    expected, count = front_end(heard, torch.tensor([heard.shape[-1]]))
    assert count.tolist() == frames.tolist()
    torch.testing.assert_close(front_end.normalise(restored, frames), expected, atol=0.02, rtol=0)


def test_features_take_two_bytes_a_band_and_frame(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", voice(3.0), RATE)
    table = utterances([{"path": str(tmp_path / "a.wav"), "speaker": "a"}])
    prepared = prepare(table, tmp_path / "cache", kept=Features("original", 64, RATE))
    (shard,) = prepared.folder.glob("*.f16")
    assert shard.stat().st_size == 2 * 64 * prepared.lengths[0]
    assert prepared.read(0).shape == (64, prepared.lengths[0])
    np.testing.assert_array_equal(prepared.read(0, 10, 20), prepared.read(0)[:, 10:30])


def test_without_a_known_speaker_there_is_nothing_to_list(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"batches\.counts_per_speaker: .*fill the column 'speaker'"
    ):
        list_crops(prepared_voices(tmp_path, {None: 2}), COUNTS, ITEMS, seed=0)
