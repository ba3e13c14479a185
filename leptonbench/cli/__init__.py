"""The command line: `leptonbench`. Importing it imports nothing heavy."""

from __future__ import annotations

import sys
from typing import NoReturn

from leptonbench.errors import EXIT_PREREQUISITE


def main() -> NoReturn:
    """Run the command line on the process's arguments and exit with its code.

    Python itself exits with 1 on an error that nobody catches, and 1 is a finding of the gate: a package that is
    missing or broken exits as any missing prerequisite does.
    """
    try:
        from leptonbench.cli.app import invoke
    except ImportError as error:
        sys.stderr.write(
            "error: leptonbench is not installed whole\n"
            f"  Caused by: {error}\n  hint: install it again with `pip install --force-reinstall leptonbench`\n"
        )
        sys.exit(EXIT_PREREQUISITE)
    sys.exit(invoke(sys.argv[1:]))
