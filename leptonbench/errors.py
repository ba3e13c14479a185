"""Errors a user can act on: message, cause and hint; exit codes are part of the contract.

LeptonError                 exit 2
├── UsageError              exit 2   wrong name, wrong option, malformed file
├── MeasurementError        exit 3   a measurement is invalid, inconclusive or failed
├── BudgetSpent             exit 3   no time was left to make something; more time cures it
├── NotApplicable           exit 2   a technique that has nothing to work on in this model: its cells are skipped
├── PrerequisiteError       exit 4   a device, an optional package or a tool is missing
└── StorageError            exit 2   a run folder cannot be read or written

Anything else that escapes is a defect of leptonbench and keeps its traceback.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_REGRESSION = 1
EXIT_USAGE = 2
EXIT_INVALID = 3
EXIT_PREREQUISITE = 4
EXIT_INTERRUPTED = 130


class LeptonError(Exception):
    """Say what went wrong, why, and what to do about it.

    Args:
        message: One sentence, no full stop; names are in backquotes.
        cause: What it was caused by, as precise as known (file, line, key); empty if the message says it all.
        hint: What the user can do next.
    """

    exit_code: int = EXIT_USAGE

    def __init__(self, message: str, *, cause: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.hint = hint

    def __str__(self) -> str:
        """Render the three parts, one a line."""
        lines = [self.message]
        if self.cause:
            lines.append(f"  Caused by: {self.cause}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class UsageError(LeptonError):
    """A wrong name, option or file that the user gave."""


class StorageError(LeptonError):
    """A run folder or a file that cannot be read or written."""


class MeasurementError(LeptonError):
    """A measurement that failed or cannot be trusted."""

    exit_code = EXIT_INVALID


class BudgetSpent(LeptonError):  # noqa: N818 - no defect either
    """Something that a time budget leaves no room for."""

    exit_code = EXIT_INVALID


class NotApplicable(LeptonError):  # noqa: N818 - a refusal with a reason, not a defect
    """A compression technique that finds nothing in the model to work on."""


class PrerequisiteError(LeptonError):
    """A device, a package or a tool that is not there."""

    exit_code = EXIT_PREREQUISITE
