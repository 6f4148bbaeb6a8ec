"""What a run learns from: the union of corpora, prepared once."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hive_mtl.errors import ConfigError, DataError
from hive_mtl.learn import corpora
from hive_mtl.learn.materials import Materials, gather, without
from hive_mtl.learn.tasks.speaker import SpeakerConfig
from learning import speaker_names, tiny_recipe, utterances, write_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def gathered(corpus: Path, cache: Path, **data: str) -> Materials:
    recipe = tiny_recipe(cache, tasks={"speaker": {}, "mood": {}}, data=data)
    return gather(recipe, [str(corpus)], (), lambda _: None)


class TestOnlyWhatIsLabelled:
    def test_is_learnt_from_and_everything_validates(self, corpus: Path, tmp_path: Path) -> None:
        whole, labelled = gathered(corpus, tmp_path), gathered(corpus, tmp_path, labelled="mood")
        assert None in whole.training.table["mood"].to_pylist()
        assert set(labelled.training.table["mood"].to_pylist()) == {"calm", "glad"}
        assert whole.validation
        assert labelled.validation
        assert labelled.validation.table.equals(whole.validation.table)

    def test_is_a_part_of_the_same_preparation(self, corpus: Path, tmp_path: Path) -> None:
        whole, labelled = gathered(corpus, tmp_path), gathered(corpus, tmp_path, labelled="mood")
        assert labelled.training.folder == whole.training.folder
        paths = whole.training.table["path"].to_pylist()
        for row, path in enumerate(labelled.training.table["path"].to_pylist()):
            waves = labelled.training.read(row), whole.training.read(paths.index(path))
            assert np.array_equal(*waves)

    def test_a_label_that_is_not_there(self, corpus: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"unknown task 'moood'.*did you mean 'mood'"):
            gathered(corpus, tmp_path, labelled="moood")


def test_a_recording_that_is_cut_up_is_one_recording_of_its_voice(tmp_path: Path) -> None:
    """A voice of one recording is no class by default, however many rows it has."""
    table = write_corpus(tmp_path / "corpus")
    rows = corpora.read(str(table)).to_pylist()
    once, *others = sorted({row["speaker"] for row in rows})
    whole = next(row for row in rows if row["speaker"] == once)
    cut = [row for row in rows if row["speaker"] != once]
    cut += [whole | {"start_s": start_s, "duration_s": 1.0} for start_s in (0.0, 1.0)]
    columns = {name: [row[name] for row in cut] for name in cut[0]}
    pq.write_table(pa.table(columns), tmp_path / "cut.parquet")
    materials = gathered(tmp_path / "cut.parquet", tmp_path / "cache")
    assert materials.training.table["speaker"].to_pylist().count(once) == 2
    (speaker,) = (task for task in materials.tasks if task.name == "speaker")
    classes = [name.partition("/")[2] for name in speaker.state()["classes"]]
    assert once not in classes
    assert set(classes) < set(others)
    assert set(speaker.counts) == {2}


def test_a_corpus_that_is_left_out_is_not_learnt_from() -> None:
    rows = [{"path": "/a.wav", "speaker": "s", "corpus": corpus} for corpus in "xyx"]
    assert without(utterances(rows), ["x"])["corpus"].to_pylist() == ["y"]


def test_a_corpus_may_ask_for_fewer_recordings_of_a_voice() -> None:
    config = SpeakerConfig(min_recordings=3, min_recordings_of={"read": 1})
    assert (config.needed("read/ann"), config.needed("phone/ann")) == (1, 3)


@pytest.mark.parametrize(("allowed", "refused"), [(0, True), (1, True), (2, False)])
def test_recordings_that_fail_count_in_training_and_validation_together(
    tmp_path: Path, allowed: int, refused: bool
) -> None:
    table = write_corpus(tmp_path / "corpus")
    for validation in (False, True):
        name = speaker_names(1, validation=validation)[0]
        (table.parent / f"{name}-0.wav").write_bytes(b"nothing")
    recipe = tiny_recipe(tmp_path / "cache", data={"max_failures": allowed})
    if refused:
        with pytest.raises(DataError, match=r"1 of \d+ recordings failed, more than the 0 allowed"):
            gather(recipe, [str(table)], (), lambda _: None)
    else:
        assert len(gather(recipe, [str(table)], (), lambda _: None).failures) == 2
