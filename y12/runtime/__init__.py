"""Run an exported detector, without torch: `from y12 import Runtime`."""

if __name__ != "y12.runtime":  # every class would exist twice
    raise ImportError(f"expected `import y12.runtime`, found `import {__name__}`: use `from y12 import Runtime`")
