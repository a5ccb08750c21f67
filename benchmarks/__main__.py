"""Run the benchmarks: ``python -m benchmarks [name …]``; a name is a module here or the beginning of one (``capture``).

Each runs in a process of its own, so that memory and caches of one do not count for the next. One JSON line per measure on standard output:
measure, value, unit, and peer, peer_value, ratio where there is a peer. Exit code 1 when one fails.
"""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

_NO_BENCHMARKS = {"__main__", "report", "capturing", "child", "forged"}


def main(chosen: list[str]) -> int:
    names = [module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]) if module.name not in _NO_BENCHMARKS]
    wanted = [name for name in names if not chosen or name.startswith(tuple(chosen))]
    if not wanted:
        print(f"no benchmark is called so; there are: {', '.join(names)}", file=sys.stderr)
        return 2
    return max(int(subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode != 0) for name in wanted)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
