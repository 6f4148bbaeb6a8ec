import pytest

from hive_mtl.errors import ConfigError
from hive_mtl.learn import backbones, losses, registry, tasks


def test_members_are_the_files_of_the_folder() -> None:
    assert {"aam", "softmax", "balanced", "ordinal", "triplet"} <= set(registry.names(losses))
    assert "separable_tdnn" in registry.names(backbones)
    assert {"speaker", "gender", "age", "accent", "language", "emotion"} <= set(
        registry.names(tasks)
    )
    assert not any(name.startswith("_") for name in registry.names(losses))


def test_an_unknown_member_names_the_nearest_and_all() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown loss 'softmix': did you mean 'softmax'\? choose from aam, "
    ):
        registry.member(losses, "softmix", "loss")


@pytest.mark.parametrize("parse", [losses.parse_config, backbones.parse_config])
@pytest.mark.parametrize("settings", [{}, {"name": 3}, {"name": ["aam"]}, 3, ["aam"], "", None])
def test_settings_of_a_wrong_form_are_one_line(parse, settings) -> None:
    with pytest.raises(ConfigError, match="choose from") as caught:
        parse(settings)
    assert "\n" not in str(caught.value)


def test_a_bare_name_is_a_config_of_defaults() -> None:
    assert losses.parse_config("aam") == losses.parse_config({"name": "aam"})


def test_a_config_stays_what_it_is() -> None:
    config = losses.parse_config({"name": "aam", "margin": 0.3})
    assert losses.parse_config(config) is config


def test_a_suggestion_without_a_near_choice_lists_all() -> None:
    assert registry.suggestion("xyz", ["aam", "softmax"]) == ": choose from aam, softmax"
