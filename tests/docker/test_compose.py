"""The compose file: what it builds is there, the GPU is reserved, and nobody is root."""

import json
import tomllib
from pathlib import Path

import pytest
import yaml

from y12.serve.server import GRACE_S as STOP_S

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_services():
    assert sorted(SERVICES) == ["export", "infer", "serve"]
    assert set(COMPOSE["volumes"]) == {"cache"}


@pytest.mark.parametrize("service", ["infer", "serve"])
def test_inference_reserves_a_gpu(service):
    devices = SERVICES[service]["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_images_are_built_from_what_is_there(service):
    context = (DOCKER / service["build"]["context"]).resolve()
    assert context == ROOT
    assert (context / service["build"]["dockerfile"]).is_file()
    assert service["image"].endswith(f":{VERSION}")


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_services_can_do_no_more_than_they_need(service):
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert not {"privileged", "network_mode", "pid", "cap_add"} & set(service)
    assert service.get("user", "10001") != "root"


@pytest.mark.parametrize("service", ["infer", "serve"])
def test_inference_cannot_change_the_data(service):
    assert [volume.rsplit(":", 1)[1] for volume in SERVICES[service]["volumes"]] == ["ro", "/cache"]


def test_only_the_service_is_reached_and_only_from_this_machine():
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports == {"serve": ["127.0.0.1:${Y12_PORT:-8080}:8080"]}


def test_the_service_is_asked_how_it_is_as_its_image_says():
    text = (DOCKER / "serve.Dockerfile").read_text()
    own = SERVICES["serve"]["healthcheck"]
    assert f"CMD {json.dumps(own['test'][1:])}" in text
    said = "--interval={interval} --timeout={timeout} --start-period={start_period} --retries={retries} ".format(**own)
    assert said in text
    assert int(SERVICES["serve"]["stop_grace_period"].rstrip("s")) > STOP_S
