"""`python -m leptonbench`."""

from __future__ import annotations

from leptonbench.cli import main

if __name__ == "__main__":
    main()
