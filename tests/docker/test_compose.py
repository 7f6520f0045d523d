"""The compose file: what it builds is there, the GPU is reserved, and nobody is root."""

import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_services():
    assert sorted(SERVICES) == ["export", "infer"]
    assert set(COMPOSE["volumes"]) == {"cache"}


def test_inference_reserves_a_gpu():
    devices = SERVICES["infer"]["deploy"]["resources"]["reservations"]["devices"]
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


def test_inference_cannot_change_the_data():
    assert [volume.rsplit(":", 1)[1] for volume in SERVICES["infer"]["volumes"]] == ["ro", "/cache"]
