"""Random plays for so many minutes, with ever new seeds: `soak.py MINUTES -- ARGUMENTS OF PYTEST`.

Those on the real control plane and those on virtual time run side by side, in a process each. A failure does not end
them; the exit code is 1 if any play failed, and the last lines say which seeds.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

BOTH = ("tests/stateful", "tests/interleavings")
OVERTIME = 30
"""Minutes that the last plays, and making failures shorter, may take."""


def main(argv: list[str]) -> int:
    minutes, arguments = float(argv[0]), [each for each in argv[1:] if each != "--"]
    with tempfile.TemporaryDirectory(prefix="reroll-soak-") as directory:
        summary = Path(directory) / "summary"
        summary.touch()
        environment = os.environ | {"REROLL_SOAK_MINUTES": str(minutes), "REROLL_SOAK_SUMMARY": str(summary)}
        limit = f"--limit={minutes + OVERTIME:g}m"
        runner = [sys.executable, str(Path(__file__).with_name("run_tests.py")), limit, "--"]
        running = [
            subprocess.Popen([*runner, "-n0", "-q", "-s", folder, *arguments], env=environment)
            for folder in BOTH
        ]
        try:
            codes = [process.wait() for process in running]
        except KeyboardInterrupt:
            # It reached them too; they end in order.
            codes = [process.wait() for process in running]
        print(f"\nsoak of {minutes:g} minutes:\n{summary.read_text()}", end="")
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
