"""Strangers' files of every kind, made by generators: refused in one line or read, within bounds of time and memory."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "exporter"))  # its makers of small files serve here too
