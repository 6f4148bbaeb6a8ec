"""Models fetched from and published to a stand-in for the Hugging Face Hub."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import hive_mtl as hive
from hive_mtl.faces.cli import main
from hive_mtl.use import hub as wing
from hub import COMMIT, TOKEN, Hub
from tiny_model import description, save_tiny_model
from voices import RATE, voice

pytest.importorskip("huggingface_hub")

from huggingface_hub import constants


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model as export leaves it, and its card."""
    made = tmp_path / "made"
    made.mkdir()
    save_tiny_model(made / "model.onnx")
    (made / "model.json").write_text(description().model_dump_json())
    (made / "model.safetensors").write_bytes(b"weights")
    (made / "MODEL_CARD.md").write_text("# Tiny\n")
    return made


@pytest.fixture
def on_the_hub(hub: Hub, folder: Path) -> Hub:
    for name in ("model.onnx", "model.json"):
        hub.files[f"org/tiny/{name}"] = (folder / name).read_bytes()
    return hub


class TestFetching:
    def test_a_name_is_a_model(self, on_the_hub: Hub) -> None:
        model = hive.load("org/tiny")
        assert model.description == description()
        assert model.embed((voice(2), RATE)).vector.size == description().embedding_dim

    def test_what_is_there_is_not_fetched_again(self, on_the_hub: Hub) -> None:
        hive.load("org/tiny")
        on_the_hub.requests.clear()
        hive.load("org/tiny")
        assert {method for method, _ in on_the_hub.requests} == {"HEAD"}

    def test_offline_it_comes_from_the_cache(
        self, on_the_hub: Hub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hive.load("org/tiny")
        on_the_hub.requests.clear()
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert hive.load("org/tiny").description.name == "tiny"
        assert not on_the_hub.requests
        with pytest.raises(hive.ModelError, match=r"no such file or folder here, .* is set"):
            hive.load("org/other")

    def test_a_model_without_model_json_is_one_too(self, on_the_hub: Hub) -> None:
        del on_the_hub.files["org/tiny/model.json"]
        assert hive.load("org/tiny").description.name == "tiny"

    def test_a_damaged_model_is_refused(self, on_the_hub: Hub) -> None:
        content = bytearray(on_the_hub.files["org/tiny/model.onnx"])
        content[500] ^= 1
        on_the_hub.files["org/tiny/model.onnx"] = bytes(content)
        with pytest.raises(hive.ModelError, match="checksum"):
            hive.load("org/tiny")

    def test_a_path_that_is_there_is_that_path(
        self, on_the_hub: Hub, folder: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "org").mkdir()
        folder.rename(tmp_path / "org" / "tiny")
        assert hive.load("org/tiny").description.name == "tiny"
        with pytest.raises(hive.ModelError, match="no such model"):
            hive.load(Path("org/other"))
        with pytest.raises(hive.ModelError, match="no such model"):
            hive.load("org/other.onnx")
        assert not on_the_hub.requests

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("org/none", "no such file or folder here and no such model on the Hub"),
            ("org/gated", "asks for consent"),
            ("org/data", "without a model.onnx"),
            ("org/not--allowed", "not a name that the Hub allows"),
            ("org/" + "x" * 300, "not a name that the Hub allows"),
        ],
    )
    def test_what_is_not_to_be_had_is_one_line(
        self, hub: Hub, name: str, words: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        hub.files["org/data/table.csv"] = b""
        hub.gated.add("org/gated")
        assert main(["attributes", "x.wav", "--model", name]) == 2
        error = capsys.readouterr().err
        assert words in error
        assert error.startswith(f"hive-mtl: {name}: ")
        assert error.count("\n") == 1


class TestPublishing:
    def test_all_files_arrive_and_it_is_loaded_from_there(
        self,
        hub: Hub,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        assert main(["publish", str(folder), "org/mine"]) == 0
        said = capsys.readouterr()
        assert f"org/mine/commit/{COMMIT}" in said.out
        assert TOKEN not in said.out + said.err
        for name in ("model.onnx", "model.json", "model.safetensors"):
            assert hub.files[f"org/mine/{name}"] == (folder / name).read_bytes()
        card = hub.files["org/mine/README.md"].decode()
        assert card.startswith("---\nlibrary_name: hive-mtl\ntags:\n")
        assert card.endswith("---\n\n# Tiny\n")
        assert hub.public["org/mine"]
        assert hive.load("org/mine").description == description()

    def test_a_card_with_front_matter_keeps_it(
        self, hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        own = "---\nlicense: cc-by-4.0\n---\n# Tiny\n"
        (folder / "MODEL_CARD.md").write_text(own)
        assert main(["publish", str(folder), "org/mine", "--private"]) == 0
        assert hub.files["org/mine/README.md"].decode() == own
        assert not hub.public["org/mine"]

    def test_nothing_private_goes_to_a_public_place(
        self, hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        hub.public["org/mine"] = True
        with pytest.raises(hive.ModelError, match="already, and public"):
            wing.publish(folder, "org/mine", private=True)
        assert not hub.files

    @pytest.mark.parametrize("token", [None, "hf_awrongone"])
    def test_without_the_right_it_is_one_line(
        self,
        hub: Hub,
        folder: Path,
        token: str | None,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        if token:
            monkeypatch.setenv("HF_TOKEN", token)
        hub.public["org/mine"] = True
        assert main(["publish", str(folder), "org/mine"]) == 2
        said = capsys.readouterr()
        assert "log in with 'hf auth login'" in said.err
        assert said.err.count("\n") == 1
        assert "hf_awrongone" not in said.out + said.err
        assert not hub.files

    def test_a_card_that_the_hub_refuses_is_one_line(
        self, hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        (folder / "MODEL_CARD.md").write_text("---\nlicense: none of them\n---\n")
        with pytest.raises(hive.ModelError, match='"license" must be one of a list') as caught:
            wing.publish(folder, "org/mine")
        assert "\n" not in str(caught.value)

    def test_a_model_that_is_not_whole_is_not_published(self, hub: Hub, folder: Path) -> None:
        (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-200])
        with pytest.raises(hive.ModelError, match="whole"):
            wing.publish(folder, "org/mine")
        (folder / "MODEL_CARD.md").unlink()
        with pytest.raises(hive.ModelError, match=r"lacks MODEL_CARD\.md"):
            wing.publish(folder, "org/mine")

    def test_no_network_is_one_line(
        self, hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
        with pytest.raises(hive.ModelError, match="cannot be reached"):
            wing.publish(folder, "org/mine")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(hive.ModelError, match="org/mine: HF_HUB_OFFLINE is set: unset it once"):
            wing.publish(folder, "org/mine")


def test_without_the_package_the_extra_is_named(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['huggingface_hub'] = None\n"
        "import hive_mtl\n"
        "try: hive_mtl.load('org/tiny')\n"
        "except hive_mtl.MissingExtraError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert "org/tiny is no file or folder here" in done.stdout
    assert "pip install 'hive-mtl[hub]'" in done.stdout
