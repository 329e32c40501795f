"""The files of dashboards/ with real servers: Prometheus on a cluster, nginx in front of Optuna's dashboard."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest

from tests.engines.ray.rehearsal import EPOCHS, SECRETS, STUDY, TRIALS, Cluster, status, submit
from tests.machines import Machine, Machines, need_namespaces, wait_for
from tests.report.served import served

DASHBOARDS = Path(__file__).parents[1] / "dashboards"
GRAFANA = json.loads((DASHBOARDS / "grafana.json").read_text())
QUERIES = {
    f"{panel['title']} {target['refId']}": target["expr"] for panel in GRAFANA["panels"] for target in panel["targets"]
}


def need(program: str) -> None:
    """Skip if a server is not installed; fail on CI."""
    if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin"):
        return
    if os.environ.get("CI"):
        pytest.fail(f"{program} is not installed")
    pytest.skip(f"{program} is not installed (Debian: apt-get install {program})")


class Prometheus:
    """Debian's Prometheus with our configuration, on a separate machine; scrapes more often, to finish sooner."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self._machine = machine
        token, configuration = folder / "token", folder / "prometheus.yml"
        token.write_text(SECRETS["RAY_AUTH_TOKEN"])
        text = (DASHBOARDS / "prometheus.yml").read_text()
        assert text.count("/run/secrets/ray_auth_token") == 1
        configuration.write_text(text.replace("/run/secrets/ray_auth_token", str(token)).replace(" 10s", " 2s"))
        machine.start(
            f"prometheus --config.file={configuration} --storage.tsdb.path={folder / 'tsdb'}"
            " --web.listen-address=127.0.0.1:9090"
        )

    def get(self, path: str, **parameters: str) -> Any:
        """The response of its API; None until it listens."""
        url = f"http://127.0.0.1:9090/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        done = self._machine.run("curl", "--silent", url)
        if done.returncode == 7:
            return None
        answer = json.loads(done.stdout)
        assert answer["status"] == "success", answer
        return answer["data"]

    def ask(self, query: str, study: str = ".*") -> list[dict[str, Any]]:
        """A query's result now, with Grafana's variables filled in."""
        filled = query.replace("$study", study).replace("$__rate_interval", "1m")
        found = self.get("query", query=filled)
        return list(found["result"]) if found else []

    def by_state(self) -> dict[str, float]:
        """The panel "Trials"."""
        return {row["metric"]["state"]: float(row["value"][1]) for row in self.ask(QUERIES["Trials A"])}


@pytest.mark.thorough
@pytest.mark.alone
@pytest.mark.timeout(900)
def test_every_query_of_the_grafana_dashboard(tmp_path: Path) -> None:
    need_namespaces()
    need("prometheus")
    with Machines(tmp_path / "machines") as machines:
        cluster = Cluster(machines, tmp_path, seconds=0.5)
        with cluster.database():
            head = cluster.start("head")
            wait_for(lambda: "Ray runtime started" in head.log, 120, lambda: head.log)
            worker = cluster.start("worker")
            wait_for(lambda: "Ray runtime started" in worker.log, 120, lambda: worker.log)
            prometheus = Prometheus(machines.add("prometheus"), tmp_path)
            job = submit(cluster)

            # The time left and the best value appear once some trials have ended.
            wait_for(lambda: prometheus.by_state().get("finished", 0) >= 10, 240, lambda: status(cluster, job))
            during = {title: prometheus.ask(query) for title, query in QUERIES.items()}
            assert [title for title, rows in during.items() if not rows] == ["GPUs A", "GPUs B"]  # there are none here
            (done,), (left,), (wrong,), (nodes,) = (
                during[f"{title} A"] for title in ("Done", "Time left", "Failed", "Nodes")
            )
            assert done["metric"] == left["metric"] == wrong["metric"] == {"study": STUDY["name"]}
            assert 0 < float(done["value"][1]) < 1
            assert 1 < float(left["value"][1]) < 600
            assert (wrong["value"][1], nodes["value"][1]) == ("0", "2")
            assert {row["metric"]["optimizer"] for row in during["Best value A"]} == {"adam"}
            assert all(0 <= float(row["value"][1]) <= 1 for row in during["Memory A"] + during["Processors A"])
            assert float(during["Epochs per second A"][0]["value"][1]) > 0
            assert not any(prometheus.ask(query, "another") for query in QUERIES.values() if "$study" in query)
            assert STUDY["name"] in prometheus.get("label/study/values", **{"match[]": "ray_epsearch_trials"})

            # Metrics are exported until the driver ends, and disappear with it.
            last: dict[str, float] = {}

            def ended() -> bool:
                last.update(prometheus.by_state())
                return last.get("left") == last.get("running") == 0

            wait_for(ended, 240, lambda: status(cluster, job))
            assert last == {"left": 0, "running": 0, "earlier": 0, "finished": TRIALS}
            (epochs,) = prometheus.ask("ray_epsearch_epochs_total")
            assert float(epochs["value"][1]) == TRIALS * EPOCHS


def test_panels_can_be_read() -> None:
    """Each has a title, a description, a unit, and its own space on the grid of 24 columns."""
    taken: set[tuple[int, int]] = set()
    for panel in GRAFANA["panels"]:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert all(target["legendFormat"] for target in panel["targets"])
        area = panel["gridPos"]
        cells = set(itertools.product(range(area["x"], area["x"] + area["w"]), range(area["y"], area["y"] + area["h"])))
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells
    assert len({panel["id"] for panel in GRAFANA["panels"]}) == len(GRAFANA["panels"])


def test_queries_use_existing_metrics_of_ours() -> None:
    names = set(re.findall(r"ray_\w+", " ".join(QUERIES.values())))
    assert {name for name in names if name.startswith("ray_epsearch_")} == {
        "ray_epsearch_trials",
        "ray_epsearch_epochs_total",
        "ray_epsearch_best_value",
    }


@contextmanager
def behind_nginx(folder: Path, dashboard: str) -> Iterator[str]:
    """The address of nginx with our site in front of the dashboard; user ada, password lovelace."""

    def secret(*words: str) -> str:
        return subprocess.run(["openssl", *words], capture_output=True, text=True, check=True, cwd=folder).stdout

    secret("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", "key", "-out", "cert")
    (folder / "users").write_text(f"ada:{secret('passwd', '-6', 'lovelace')}")
    (folder / "users").chmod(0o644)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    site = (DASHBOARDS / "nginx.conf").read_text()
    for ours, here in {
        "listen 443": f"listen 127.0.0.1:{port}",
        "/etc/ssl/certs/studies.pem": str(folder / "cert"),
        "/etc/ssl/private/studies.key": str(folder / "key"),
        "/etc/nginx/epsearch.users;": f"{folder / 'users'};",
        "http://127.0.0.1:8080": dashboard.rstrip("/"),
    }.items():
        assert site.count(ours) == 1, ours
        site = site.replace(ours, here)
    (folder / "nginx.conf").write_text(
        f"pid {folder}/pid; error_log {folder}/error.log; events {{}} http {{ access_log off; {site} }}"
    )
    for each in (folder, *folder.parents[:3]):
        each.chmod(each.stat().st_mode | 0o755)  # nginx workers run as another user
    server = subprocess.Popen(
        ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"],
        env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"},
        stderr=(folder / "stderr").open("w"),
    )
    try:
        wait_for(lambda: connects(port), 20, (folder / "stderr").read_text)
        yield f"https://localhost:{port}"
    finally:
        server.terminate()
        server.wait(20)


def connects(port: int) -> bool:
    """Whether something listens on the port."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.thorough
@pytest.mark.alone
def test_optunas_dashboard_behind_a_login(tmp_path: Path) -> None:
    need("nginx")
    need("openssl")
    import ssl

    storage = f"sqlite:///{tmp_path}/study.db"
    study = optuna.create_study(study_name="behind", storage=storage)
    trusted = ssl.create_default_context()

    def answers(url: str, login: str | None = None, method: str = "GET") -> tuple[int, str]:
        request = urllib.request.Request(url, method=method)
        if login:
            request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
        try:
            with urllib.request.urlopen(request, context=trusted) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    with served(storage) as address, behind_nginx(tmp_path, address) as front:
        trusted.load_verify_locations(tmp_path / "cert")
        one = f"{front}/api/studies/{study._study_id}"
        for login in (None, "ada:wrong", "eve:lovelace"):
            assert answers(f"{front}/dashboard/", login)[0] == 401
            assert answers(f"{front}/api/studies", login)[0] == 401
            assert answers(one, login, "DELETE")[0] == 401
        code, page = answers(f"{front}/dashboard/", "ada:lovelace")
        assert (code, "<html" in page.lower()) == (200, True)
        # A browser sends a dozen requests at once, and again every few seconds.
        for _ in range(40):
            code, studies = answers(f"{front}/api/studies", "ada:lovelace")
            assert code == 200
        assert [found["study_name"] for found in json.loads(studies)["study_summaries"]] == ["behind"]
        assert answers(one, "ada:lovelace", "DELETE")[0] == 204
    assert optuna.get_all_study_names(storage) == []
