"""`leptonbench doctor`: what this machine can measure."""

from __future__ import annotations

from leptonbench.cli import console
from leptonbench.cli.options import AsJson
from leptonbench.errors import EXIT_OK, EXIT_PREREQUISITE


def doctor(as_json: AsJson = False) -> int:
    """Show what this machine can measure and what is missing."""
    from leptonbench.doctor import State, diagnose
    from leptonbench.schema import SCHEMA_VERSION

    checks = diagnose()
    blocked = [check for check in checks if check.required and check.state is State.MISSING]
    if as_json:
        rows = [check._asdict() for check in checks]
        console.document({"schema_version": SCHEMA_VERSION, "ready": not blocked, "checks": rows})
    else:
        columns = [console.Column(title) for title in ("state", "area", "name", "found")]
        console.table(columns, [[check.state.value, check.area, check.name, check.detail] for check in checks])
        advice = [check for check in checks if check.hint and check.state is not State.OK]
        if advice:
            console.out()
        for check in advice:
            console.out(f"{check.name}: {check.hint}")
    if blocked:
        console.say(f"nothing can be measured yet; missing: {', '.join(check.name for check in blocked)}")
    return EXIT_PREREQUISITE if blocked else EXIT_OK
