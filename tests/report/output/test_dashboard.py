import json
import socket
import sys
import urllib.request

import optuna
import pytest

from epsearch.core.errors import UserError
from epsearch.report.figures.gallery import figures
from epsearch.report.output import dashboard
from epsearch.search.storage import open_storage
from tests.report import sample
from tests.report.served import served


@pytest.fixture
def url(tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    optuna.create_study(study_name="study", storage=url)
    return url


@pytest.fixture
def storage(url):
    return open_storage(url, "storage")


def get(address):
    with urllib.request.urlopen(address, timeout=30) as answer:
        return answer.read().decode()


def test_the_server_answers_with_the_figures_and_ends_quietly(url, outcome):
    pytest.importorskip("optuna_dashboard")
    sample.publish(optuna.load_study(study_name="study", storage=url), outcome)
    with served(url) as address:
        assert address.startswith("http://127.0.0.1:")
        assert "<html" in get(address + "dashboard").lower()
        (summary,) = json.loads(get(address + "api/studies"))["study_summaries"]
        study = json.loads(get(f"{address}api/studies/{summary['study_id']}"))
        graphs = {graph["id"]: graph["graph_object"] for graph in study["plotly_graph_objects"]}
        assert set(graphs) == set(figures(outcome)) - {"landscape", "trials-in-order"}
        assert json.loads(graphs["heatmap-lr-eps"])["data"][0]["type"] == "heatmap"
        assert "0.9120" in study["note"]["body"]


def test_an_occupied_port_is_named(storage):
    pytest.importorskip("optuna_dashboard")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"Port {port} is in use"):
            dashboard.serve(storage, port=port)


def test_a_host_that_is_not_here(storage):
    pytest.importorskip("optuna_dashboard")
    with pytest.raises(UserError, match=r"Cannot listen on 192\.0\.2\.1"):
        dashboard.serve(storage, host="192.0.2.1", port=0)


def test_other_machines_are_warned_of(storage, monkeypatch, capsys):
    pytest.importorskip("optuna_dashboard")

    def interrupted(server):
        raise KeyboardInterrupt

    monkeypatch.setattr(dashboard._Server, "serve_forever", interrupted)
    dashboard.serve(storage, host="0.0.0.0", port=0)
    assert "no login" in capsys.readouterr().err
    dashboard.serve(storage, port=0)
    assert capsys.readouterr().err == ""


def test_the_extra_is_named(storage, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    with pytest.raises(UserError, match=r"pip install 'epsearch\[dashboard\]'"):
        dashboard.serve(storage)
