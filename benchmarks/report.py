"""One measure as one line of JSON."""

from __future__ import annotations

import json


def emit(
    measure: str,
    value: float,
    unit: str,
    *,
    peer: str | None = None,
    peer_value: float | None = None,
    less_is_better: bool = False,
    **more: float | str,
) -> None:
    """Print it. ``ratio`` is over 1 when ``value`` is better than ``peer_value``; ``more`` are further facts, for people."""
    line: dict[str, object] = {"measure": measure, "value": round(value, 4), "unit": unit}
    if peer is not None and peer_value is not None:
        ratio = peer_value / value if less_is_better else value / peer_value
        line |= {"peer": peer, "peer_value": round(peer_value, 4), "ratio": round(ratio, 3)}
    print(json.dumps({**line, **more}), flush=True)
