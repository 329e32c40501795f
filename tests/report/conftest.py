import pytest

from epsearch.records.outcome import Outcome

from . import sample


@pytest.fixture
def outcome(tmp_path) -> Outcome:
    return sample.outcome(tmp_path)
