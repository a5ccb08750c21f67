"""The demo is told to its good end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.timeout(600)
def test_demo_brings_everything_back() -> None:
    """``make demo`` ends with proof that everything noted at the second is there again."""
    done = subprocess.run([sys.executable, "-m", "demo"], cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "everything came back exactly as it was" in done.stdout
