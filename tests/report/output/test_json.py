import json

from epsearch.report.output.json import to_json
from tests.report import sample


def test_json_holds_all_of_it(outcome):
    found = to_json(outcome)
    assert json.loads(json.dumps(found, allow_nan=False))["range"]["lower"] == 1e-6
    assert list(found["range"]["adaptive_fraction"]) == ["1e-06", "1e-05", "0.0001", "0.001", "0.01"]
    assert found["best"]["value"] == outcome.best.value
    assert found["verdict"]["kind"] == "partial"
    assert len(found["trials"]) == len(outcome.trials)


def test_nothing_yet(tmp_path):
    found = to_json(sample.outcome(tmp_path, probe=None, trials=[]))
    assert (found["range"], found["best"], found["trials"]) == (None, None, [])
