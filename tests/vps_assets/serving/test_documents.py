"""What stands in docs/ about the service: names that the service has."""

import json
import re

from conftest import REPOSITORY
from prometheus_client import generate_latest

from vps_assets.serving.app import PROBLEMS
from vps_assets.serving.form import FIELDS, PHOTO
from vps_assets.serving.observed import Metrics


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    metrics = Metrics()
    metrics.of_answer({"wait": 0.1}, 1, "photo", None)
    metrics.responses.labels(200).inc()
    metrics.models.info({"photo": "a"})
    told = set(re.findall(r"^(vps_\w+)", generate_latest(metrics.registry).decode(), re.MULTILINE))
    panels = json.loads((REPOSITORY / "docs" / "grafana.json").read_text())["panels"]
    asked = {name for panel in panels for target in panel["targets"] for name in re.findall(r"vps_\w+", target["expr"])}
    assert len(panels) == 10
    assert asked <= told


def test_the_guide_names_every_field_and_the_problems_of_a_suggestion() -> None:
    guide = (REPOSITORY / "docs" / "service.md").read_text()
    fields = set(re.findall(r"`(\w+)`", guide[guide.index("| field |") : guide.index("Errors are")]))
    assert fields >= {PHOTO, *FIELDS}
    assert set(re.findall(r"^\| (\d{3}) \|", guide, re.MULTILINE)) <= {str(status) for status in PROBLEMS}
