"""What the service counts and times, for Prometheus."""

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_IMAGES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)


class Metrics:
    """The service's own metrics; no label takes a value of a client's.

    Args:
        waiting: gives how many images wait.
        is_ready: says whether the network runs.
    """

    def __init__(self, waiting: Callable[[], int], is_ready: Callable[[], bool]) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter("y12_requests", "requests answered", ["endpoint", "status"], registry=registry)
        self._refusals = Counter("y12_refusals", "requests refused, by reason", ["reason"], registry=registry)
        self._dropped = Counter("y12_dropped_images", "images whose client left before they ran", registry=registry)
        self._batch = Histogram("y12_batch_images", "images in a batch", buckets=_IMAGES, registry=registry)
        stages = "seconds of a batch in a stage; of an image in the queue"
        self._stages = Histogram("y12_stage_seconds", stages, ["stage"], buckets=_SECONDS, registry=registry)
        Gauge("y12_queue_images", "images that wait", registry=registry).set_function(lambda: float(waiting()))
        Gauge("y12_ready", "1 where the network runs", registry=registry).set_function(lambda: float(is_ready()))

    def request(self, endpoint: str, status: int) -> None:
        """Count an answer."""
        self._requests.labels(endpoint, str(status)).inc()

    def refusal(self, reason: str) -> None:
        """Count a refusal."""
        self._refusals.labels(reason).inc()

    def dropped(self, images: int) -> None:
        """Count what nobody waits for any more."""
        self._dropped.inc(images)

    def batch(self, images: int, ms: Mapping[str, float]) -> None:
        """Note the size of a batch, and what each stage of it took."""
        self._batch.observe(images)
        for stage, value in ms.items():
            self.stage(stage, value / 1e3)

    def stage(self, name: str, seconds: float) -> None:
        """Note what a stage took."""
        self._stages.labels(name).observe(seconds)

    def text(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        return generate_latest(self._registry)
