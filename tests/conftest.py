"""What several test files share."""

from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("untimed", deadline=None)  # tests do not time
hypothesis.settings.load_profile("untimed")

SHARED_SPEECH = Path(__file__).resolve().parents[2] / "shared" / "speech"


@pytest.fixture(scope="session")
def shared_speech() -> Path:
    """The folder of real speech beside the checkout; its manifest.csv is a table corpus."""
    if not (SHARED_SPEECH / "manifest.csv").is_file():
        pytest.skip(f"needs the real speech of {SHARED_SPEECH}, which is not here")
    return SHARED_SPEECH
