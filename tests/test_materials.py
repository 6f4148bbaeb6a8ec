"""What a run learns from: the union of corpora, prepared once."""

from pathlib import Path

import numpy as np
import pytest

from hive_mtl.errors import ConfigError
from hive_mtl.learn.materials import Materials, gather
from learning import tiny_recipe, write_corpus


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
