"""Servers on loopback, and a cache that is thrown away."""

import ssl
import subprocess

import pytest

from tests.remote.site import Site
from y12.remote import fetch


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder that fetched models are kept in."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "y12" / "models"


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """Let nothing wait long before it is tried again."""
    monkeypatch.setattr(fetch, "_WAITS_S", (0.0, 0.01, 0.02, 0.03))


@pytest.fixture
def site():
    """A server that speaks plain HTTP."""
    with Site().open() as opened:
        yield opened


@pytest.fixture
def tls_site(tmp_path, monkeypatch):
    """A server that speaks HTTPS, whose certificate this process takes for good."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=loopback"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed: no certificate for a server can be made")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with Site(context).open() as opened:
        yield opened


def kept_files(cache):
    """Return the files in the cache that are models, whole or in part."""
    return sorted(path.name for path in cache.rglob("*") if path.is_file() and path.name not in ("lock", "newest.json"))
