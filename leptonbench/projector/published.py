"""What is published, read from the data folders: profiles, results, and the back-test with its fitted constants."""

from __future__ import annotations

import csv
import functools
import math
from collections.abc import Sequence

from leptonbench.catalog import DEVICE_KINDS, load_profiles, load_yaml
from leptonbench.errors import UsageError
from leptonbench.paths import data_root
from leptonbench.projection.anchors import Table
from leptonbench.projection.claims import BackTest
from leptonbench.projection.model import Traits, Variances
from leptonbench.projection.results import Observation, Submission, parse_rows, typical
from leptonbench.registry import unknown
from leptonbench.schema import AcceleratorSpec, DeviceProfile

BACK_TEST = "projection.yaml"


@functools.cache
def accelerators() -> dict[str, DeviceProfile]:
    """Return every profile that says what is published of an accelerator, by name."""
    profiles = (profile for kind in DEVICE_KINDS for profile in load_profiles(kind))
    return {profile.name: profile for profile in profiles if profile.accelerator is not None}


@functools.cache
def back_test() -> BackTest:
    """Return the fitted constants and the back-test errors that came with them.

    Raises:
        UsageError: If the file is wrong.
    """
    return load_yaml(data_root() / "hardware_profiles" / "published" / BACK_TEST, BackTest)


def find_device(text: str) -> str:
    """Return the name of the accelerator that a user means: its own, or what results or its driver call it.

    Raises:
        UsageError: If there is none, with the nearest name.
    """
    if text in accelerators():
        return text
    wanted = text.casefold()
    for name, profile in accelerators().items():
        spec = spec_of(profile)
        if wanted in map(str.casefold, (profile.title["en"], *spec.published_as, *spec.driver_names)):
            return name
    raise unknown("device", text, accelerators())


@functools.cache
def processors() -> dict[str, DeviceProfile]:
    """Return the profiles of CPUs that published results, by name."""
    return {one.name: one for one in load_profiles("cpu") if one.match is not None and one.match.published_as}


@functools.cache
def published_submissions() -> tuple[Submission, ...]:
    """Return every published result that may be compared: of one accelerator, and of one core of a CPU."""
    names = {name: one.name for one in accelerators().values() for name in spec_of(one).published_as}
    cpus = {part: one.name for one in processors().values() if one.match for part in one.match.published_as}
    path = data_root() / "hardware_profiles" / "published" / "mlperf_published.csv"
    with path.open(encoding="utf-8", newline="") as file:
        submissions, _ = parse_rows(csv.DictReader(file), names, cpus)
    return tuple(submissions)


def published_observations(*, cpus: bool = False) -> tuple[Observation, ...]:
    """Return what accelerators typically do by their published results, and on request what a CPU's core does."""
    return tuple(typical(one for one in published_submissions() if cpus or one.device in accelerators()))


@functools.cache
def published_table(*, cpus: bool = False) -> Table:
    """Return what is published, as the model reads it."""
    return table_of(published_observations(cpus=cpus), back_test().constants)


def table_of(observations: Sequence[Observation], constants: Variances) -> Table:
    """Return a table of some observations under some constants."""
    traits = {name: _traits(spec_of(profile)) for name, profile in accelerators().items()}
    traits |= {name: Traits("cpu", name, name, {}, None) for name in processors()}
    return Table(tuple(observations), traits, constants)


def spec_of(profile: DeviceProfile) -> AcceleratorSpec:
    """Return what is published of an accelerator.

    Raises:
        UsageError: If the profile is of something else.
    """
    if profile.accelerator is None:
        raise UsageError(f"`{profile.name}` is no accelerator", hint="see `leptonbench list devices`")
    return profile.accelerator


def _traits(spec: AcceleratorSpec) -> Traits:
    bandwidth = spec.memory_bytes_per_s
    return Traits(
        vendor=spec.vendor,
        architecture=spec.architecture,
        chip=spec.chip,
        log_peak={name: math.log(fact.value) for name, fact in spec.peak_ops_per_s.items()},
        log_bandwidth=None if bandwidth is None else math.log(bandwidth.value),
    )
