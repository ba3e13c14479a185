"""Which hardware profile describes this machine's CPU."""

from __future__ import annotations

from leptonbench import catalog
from leptonbench.errors import UsageError
from leptonbench.schema import DeviceProfile, Identity

HOST_CPU = "host-cpu"
_GENERIC = "generic-x86"


def resolve_host(identity: Identity) -> tuple[DeviceProfile, bool]:
    """Return the profile of the host's CPU, named `host-cpu`, and whether it was matched by the CPU's own numbers.

    Without a match it is the generic profile, whose figures are assumed and wide.

    Raises:
        UsageError: If the generic profile is missing from the data folder.
    """
    profiles = {profile.name: profile for profile in catalog.load_profiles("cpu")}
    for profile in profiles.values():
        match = profile.match
        if (
            match is not None
            and match.vendor == identity.cpu_vendor
            and match.family == identity.cpu_family
            and identity.cpu_model_number in match.models
        ):
            return profile.model_copy(update={"name": HOST_CPU}), True
    if _GENERIC not in profiles:
        raise UsageError(f"the hardware profile `{_GENERIC}` is missing", hint="reinstall leptonbench")
    return profiles[_GENERIC].model_copy(update={"name": HOST_CPU}), False
