"""The command line: `leptonbench`. Importing it imports nothing heavy."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line on the process's arguments and exit with its code."""
    from leptonbench.cli.app import invoke

    sys.exit(invoke(sys.argv[1:]))
