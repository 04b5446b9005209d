"""/metrics from outside: what is told is true, promtool finds no fault, a real Prometheus reads it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import httpx
import pytest
from http_fixtures import served, services_over
from postgres_fixtures import fresh_database, fresh_source
from processes import ended_run, eventually, free_port, installation
from prometheus_client.parser import text_string_to_metric_families
from tools import program, running

from pgsched.adapters.metrics.process import ProcessMetrics

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = DEPLOY / "grafana-dashboard.json"
#: metrics that are not told before there is something to count
WITH_THE_FIRST = {"pgsched_cache_requests_total"}
RULES = DEPLOY / "prometheus-rules.yml"


@pytest.fixture(scope="module")
def place(pg_server, migrated_template, tmp_path_factory):
    """A worker, an API of two processes, a query that succeeded twice and one that failed."""
    with (
        fresh_database(pg_server, template=migrated_template) as database,
        fresh_source(pg_server) as source,
        installation(tmp_path_factory.mktemp("metrics"), database.url) as place,
    ):
        place.add_source(source)
        place.worker()
        good = place.add_query("good", "select n from generate_series(1, 7) as n")
        place.add_query("bad", "select 1 / 0")
        told = (
            "select 'north\"\\' as region, 1.5 as amount, null::int as missing union all values ('é', 2, 3)"
        )
        place.told = place.add_query("told", told, "--expose-metrics")["id"]
        for name in ("good", "good", "bad", "told"):
            ended_run(database, place.json("queries", "run", name)["id"])
        _, url = place.api("--processes", "2")
        place.url, place.good, place.database = url, good["id"], database
        yield place


def sample(text: str, name: str, **labels: str) -> float:
    """The value of one series, or the sum of all that have these labels."""
    found = [
        each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
        if each.name == name and labels.items() <= each.labels.items()
    ]
    assert found, f"no {name} {labels} in\n{text}"
    return sum(found)


def scraped(place) -> str:
    answer = httpx.get(f"{place.url}/metrics", timeout=60)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return answer.text


def test_runs_are_told_by_outcome_with_their_rows_and_times(place):
    text = scraped(place)
    query = str(place.good)
    assert sample(text, "pgsched_runs_total", query_id=query, status="success", reason="") == 2
    assert sample(text, "pgsched_runs_total", status="error", reason="query_failed") == 1
    assert sample(text, "pgsched_run_rows_total", query_id=query) == 14
    assert sample(text, "pgsched_query_stored_runs", query_id=query) == 2
    assert sample(text, "pgsched_query_stored_bytes", query_id=query) > 14
    assert sample(text, "pgsched_run_duration_seconds_count") == 4
    assert sample(text, "pgsched_workers") == 1
    assert sample(text, "pgsched_database_up") == 1
    assert sample(text, "pgsched_queue_depth", state="waiting") == 0
    assert sample(text, "pgsched_leases_lost_total") == 0


def test_outcomes_stay_the_same_when_they_are_counted(place):
    before = sample(scraped(place), "pgsched_runs_total")
    counted = "select coalesce(sum(runs), 0)::int from run_tally"
    eventually(lambda: place.database.execute(counted) == [(4,)], within_s=60)
    assert sample(scraped(place), "pgsched_runs_total") == before == 4


def test_requests_are_counted_over_all_processes_by_route(place):
    route = {"route": "/api/queries/{qid}", "method": "GET"}
    for _ in range(30):
        # a connection each: the processes take turns
        httpx.get(f"{place.url}/api/queries/good", timeout=60)
    httpx.get(f"{place.url}/api/queries/nowhere")
    httpx.get(f"{place.url}/wp-login.php?a=b")
    httpx.request("BREW", f"{place.url}/coffee")
    # each process adds up what it counted a moment later
    eventually(
        lambda: (
            'method="other"' in (text := scraped(place))
            and sample(text, "pgsched_http_request_duration_seconds_count", route="/api/queries/{qid}") == 31
            and sample(text, "pgsched_http_requests_total", route="other", status="404", method="GET") == 1
        )
    )
    # whichever answers tells of all
    for _ in range(8):
        text = scraped(place)
        assert sample(text, "pgsched_http_requests_total", status="200", **route) == 30
        assert sample(text, "pgsched_http_requests_total", status="404", **route) == 1
        assert sample(text, "pgsched_http_requests_total", route="other", status="404", method="GET") == 1
    assert "wp-login" not in text
    assert "BREW" not in text
    assert sample(text, "pgsched_http_request_duration_seconds_count", route="/api/queries/{qid}") == 31


def test_labels_carry_ids_and_nothing_that_only_some_may_know(place):
    text = scraped(place)
    for word in ("good", "bad", "shop", "reader", "select", "division"):
        assert word not in text.lower()


def test_numbers_of_a_result_are_told_where_the_query_says_so(place):
    families = {family.name: family for family in text_string_to_metric_families(scraped(place))}
    series = {
        (each.labels["query_id"], each.labels["row"], each.labels["column"]): each.value
        for each in families["pgsched_query_value"].samples
    }
    told = str(place.told)
    assert series == {
        (told, 'north"\\', "amount"): 1.5,
        (told, "é", "amount"): 2.0,
        (told, "é", "missing"): 3.0,
    }
    _, closed = place.api(PUBLIC_READ="0")
    assert "pgsched_query_value{" not in httpx.get(f"{closed}/metrics", timeout=60).text


def test_promtool_finds_no_fault(place):
    done = subprocess.run(
        [program("promtool"), "check", "metrics"], input=scraped(place), capture_output=True, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_alert_rules_are_valid_and_speak_of_metrics_that_there_are(place):
    done = subprocess.run([program("promtool"), "check", "rules", RULES], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert named_in(RULES.read_text()) <= told(scraped(place))


def test_dashboard_is_json_and_speaks_of_metrics_that_there_are(place):
    dashboard = json.loads(DASHBOARD.read_text())
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert expressions
    assert named_in("\n".join(expressions)) <= told(scraped(place))


def test_reference_page_lists_every_metric(place):
    page = (DEPLOY.parent / "docs/reference/metrics.md").read_text()
    listed = set(re.findall(r"^\| (pgsched_\w+) \|", page, re.MULTILINE))
    # an answer is counted once it is over
    scraped(place)
    # a counter's family has no _total
    families = {family.name for family in text_string_to_metric_families(scraped(place))}
    assert {re.sub(r"_total$", "", name) for name in listed} == families | {"pgsched_cache_requests"}


def test_prometheus_scrapes_it(place, tmp_path):
    port = free_port()
    (tmp_path / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s}\n"
        f"rule_files: [{RULES}]\n"
        "scrape_configs:\n"
        f"- {{job_name: pgsched, static_configs: [{{targets: ['{place.url.removeprefix('http://')}']}}]}}\n"
    )
    command = [program("prometheus"), f"--config.file={tmp_path}/prometheus.yml"]
    command += [f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{port}"]
    with running(command, tmp_path / "prometheus.log"):

        def value(expression: str) -> float | None:
            try:
                answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/query", params={"query": expression})
                (one,) = answer.json()["data"]["result"]
            except (httpx.HTTPError, ValueError, KeyError):
                return None
            return float(one["value"][1])

        eventually(lambda: value("sum(pgsched_runs_total)") == 4, within_s=60)
        assert value("up") == 1
        rules = httpx.get(f"http://127.0.0.1:{port}/api/v1/rules").json()["data"]["groups"]
        assert {rule["health"] for group in rules for rule in group["rules"]} <= {"ok", "unknown"}


def test_metrics_answer_without_the_database():
    nowhere = "host=127.0.0.1 port=1 user=a dbname=b"
    with served(lambda: services_over(nowhere, meter=ProcessMetrics("0.1.0"))) as url:
        answer = httpx.get(f"{url}/metrics", timeout=30)
        assert answer.status_code == 200
        assert sample(answer.text, "pgsched_database_up") == 0


def named_in(text: str) -> set[str]:
    return set(re.findall(r"\bpgsched_\w+", text))


def told(text: str) -> set[str]:
    """Names of all series that may be told, those without a value now included."""
    return set(re.findall(r"^(?:# TYPE )?(pgsched_\w+)", text, re.MULTILINE)) | WITH_THE_FIRST
