"""Why a variant is not faster, as checks found it."""

from __future__ import annotations

from pydantic import Field

from leptonbench.schema.quantity import Frozen


class Cause(Frozen):
    """One cause that a check established.

    Attributes:
        code: Stable word; the catalogues of the report have its sentence as `cause.<code>.text` and what to do as
            `cause.<code>.hint`.
        values: What the check found, by the names that the sentence uses.
    """

    code: str
    values: dict[str, str] = Field(default_factory=dict)
