"""What TensorRT-RTX compiled for this GPU, kept on disk, so that the next process need not compile it again.

TensorRT-RTX holds a kept cache against the GPU, the driver and its own version and refuses one that does not fit
(IRuntimeCache.deserialize); the key keeps such caches apart in the first place.
"""

import hashlib
import logging
import threading
from typing import TYPE_CHECKING

from y12.disk_cache import DiskCache, user_cache
from y12.text import one_line

if TYPE_CHECKING:
    from y12.runtime.backends.tensorrt.bindings import tensorrt

__all__ = ["MAX_CACHE_BYTES", "CompiledKernels", "cache_key", "compiled_kernels", "rtx_disk_cache"]

LOG = logging.getLogger("y12.tensorrt")
MAX_CACHE_BYTES = 1 << 30


def rtx_disk_cache() -> DiskCache:
    """Return the folder `y12/rtx` of the user's cache, of at most `MAX_CACHE_BYTES`."""
    return DiskCache(user_cache("rtx"), MAX_CACHE_BYTES)


def cache_key(plan: bytes, version: str, gpu: str) -> str:
    """Name what was compiled for `plan` by TensorRT-RTX `version` on `gpu`, a name with its compute capability."""
    return hashlib.sha256(repr((hashlib.sha256(plan).hexdigest(), version, gpu)).encode()).hexdigest()


def compiled_kernels(engine: "tensorrt.ICudaEngine", disk: DiskCache, key: str) -> "CompiledKernels | None":
    """Read what was kept for an engine; None in full TensorRT, which compiles when the engine is built.

    The GPU must be current in the calling thread: TensorRT-RTX compares it with what is kept.
    """
    if not hasattr(engine, "create_runtime_config"):
        return None
    config: tensorrt.IRuntimeConfig = engine.create_runtime_config()
    if not hasattr(config, "create_runtime_cache"):
        return None
    cache: tensorrt.IRuntimeCache = config.create_runtime_cache()
    kept = disk.get(key)
    if kept is not None and not cache.deserialize(kept):
        LOG.warning("the kernels kept for this engine are of another driver or TensorRT-RTX: they are compiled again")
    return CompiledKernels(cache, disk, key, kept)


class CompiledKernels:
    """One engine's cache, shared by its contexts; it must outlive them."""

    def __init__(self, cache: "tensorrt.IRuntimeCache", disk: DiskCache, key: str, kept: bytes | None) -> None:
        self._cache: tensorrt.IRuntimeCache = cache
        self._disk, self._key, self._kept = disk, key, kept
        self._lock = threading.Lock()

    def use_in(self, trt: "tensorrt.Module", config: "tensorrt.IRuntimeConfig") -> None:
        """Let a context that is made with `config` read and fill the cache, and compile before its first run ends."""
        if hasattr(trt, "DynamicShapesKernelSpecializationStrategy"):
            # a context has one shape; compiled lazily, a captured graph would keep the kernels for any shape
            config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
        if hasattr(config, "set_runtime_cache") and not config.set_runtime_cache(self._cache):
            LOG.warning("TensorRT-RTX did not take the cache of compiled kernels: they are compiled again")

    def keep(self) -> None:
        """Write the cache to disk if anything was added; a failure costs the compilation next time, and a warning."""
        with self._lock:
            try:
                content = bytes(self._cache.serialize()) if hasattr(self._cache, "serialize") else b""
            except (RuntimeError, TypeError, MemoryError) as error:
                LOG.warning("TensorRT-RTX did not give out what it compiled (%s)", one_line(str(error)))
                return
            if content and content != self._kept:
                self._disk.put(self._key, content)
                self._kept = content
