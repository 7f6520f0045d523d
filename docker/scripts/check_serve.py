"""Say in one line whether y12-serve on this machine answers and its network runs; exit code 0 if so, else 1.

usage: check_serve.py [PORT, by default 8080] [IMAGE that it has to find objects in]
"""

import http.client
import json
import sys
from pathlib import Path


def asked(port: int, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """Ask, and give the status and the content."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=8)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def main(port: int = 8080, image: str | None = None) -> str:
    """Return what is well.

    Raises:
        OSError: nobody answers.
        SystemExit: something is not well.
    """
    status, content = asked(port, "GET", "/v2/health/ready")
    if status != 200:
        sys.exit(f"error: expected a service that is ready, found status {status} {content[:200]!r}")
    if image is None:
        return "ready"
    status, content = asked(port, "POST", "/detect", Path(image).read_bytes())
    found = len(json.loads(content).get("detections", ()))
    if not found:
        sys.exit(f"error: expected objects in {image}, found status {status} {content[:200]!r}")
    return f"ready; {found} objects in {image}"


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{main(*map(int, sys.argv[1:2]), *sys.argv[2:3])}\n")
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"error: expected y12-serve on port {(sys.argv[1:] or [8080])[0]}, found nobody ({error})")
