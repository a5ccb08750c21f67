"""Alerts are tested where promtool is: ``make promtool`` fetches it, or says why it cannot. In CI it must be there."""

from __future__ import annotations

import os

from tests.servers import promtool

collect_ignore = [] if promtool.found() or os.environ.get("CI") else ["test_alerts.py"]
