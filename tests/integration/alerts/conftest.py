"""Alerts are tested where promtool is: ``make promtool`` fetches it, or says why it cannot."""

from __future__ import annotations

from tests.servers import promtool

collect_ignore = [] if promtool.found() else ["test_alerts.py"]
