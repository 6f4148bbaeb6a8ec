"""The digest that a model file carries of its own bytes."""

from pathlib import Path

import onnx
import pytest

from hive_mtl.model_file import ONNX_CHECKSUM_KEY, is_intact, seal, unseal, with_entry
from tiny_model import save_tiny_model


def test_what_was_sealed_is_there_again_and_any_other_byte_breaks_the_seal() -> None:
    content = bytes(range(200))
    file = seal(content)
    assert unseal(file) == content
    assert is_intact(file)
    for place in range(len(file)):
        changed = bytearray(file)
        changed[place] ^= 1
        assert not is_intact(bytes(changed))


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 500])
def test_a_file_without_a_seal_has_none(content: bytes) -> None:
    assert unseal(content) is None
    assert not is_intact(content)


@pytest.mark.parametrize("length", [0, 1, 127, 128, 20_000, 3_000_000])
def test_an_entry_is_one_to_whoever_reads_the_file(tmp_path: Path, length: int) -> None:
    file = save_tiny_model(tmp_path / "model.onnx").read_bytes()
    model = onnx.load_from_string(with_entry(file, "a key", "v" * length))
    entries = {entry.key: entry.value for entry in model.metadata_props}
    assert entries["a key"] == "v" * length
    assert len(entries[ONNX_CHECKSUM_KEY]) == 64
    onnx.checker.check_model(model)
