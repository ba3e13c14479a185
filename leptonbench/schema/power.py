"""What a user may say of the power of the machine that is measured: metered points, or what kind of server it is."""

from __future__ import annotations

from pydantic import Field, model_validator

from leptonbench.schema.quantity import Frozen


class ServerSpec(Frozen):
    """What a server is, as far as its power depends on it.

    Attributes:
        tdp_w: Thermal design power of one socket.
        cores: Of all sockets.
        threads: Hardware threads of all sockets.
        year: In which servers like it came out.
        freq_mhz: Nominal clock.
    """

    tdp_w: float = Field(gt=0)
    sockets: int = Field(ge=1)
    cores: int = Field(ge=1)
    threads: int = Field(ge=1)
    ram_gb: float = Field(gt=0)
    year: int = Field(ge=1990, le=2100)
    freq_mhz: float = Field(gt=0)


class LoadPoint(Frozen):
    """Wall watts of the whole server at a share of its full load."""

    load: float = Field(ge=0, le=1)
    watts: float = Field(gt=0)


class PowerFile(Frozen):
    """A machine's power in its user's words: points read from a meter, or else the kind of server.

    Attributes:
        points: Metered at the wall, on this machine or one like it; loads 0 and 1 among them.
        hardware_threads: Of the server that was metered.
        server: For published servers like it, where nothing was metered.
        source: Who metered what with which instrument.
        date: When (ISO, `YYYY-MM-DD` or a coarser prefix).
    """

    points: tuple[LoadPoint, ...] = ()
    hardware_threads: int | None = Field(default=None, ge=1)
    server: ServerSpec | None = None
    source: str = Field(min_length=1)
    date: str = Field(pattern=r"^\d{4}(-\d{2}(-\d{2})?)?$")

    @model_validator(mode="after")
    def _check(self) -> PowerFile:
        if bool(self.points) == (self.server is not None):
            raise ValueError("give either `points` that were metered, or the `server`")
        if not self.points:
            return self
        if self.hardware_threads is None:
            raise ValueError("metered `points` need `hardware_threads`: of the server, not of a slice of it")
        loads, watts = [point.load for point in self.points], [point.watts for point in self.points]
        if loads != sorted(set(loads)) or (loads[0], loads[-1]) != (0.0, 1.0):
            raise ValueError("`points` rise from load 0 to load 1, each load once")
        if watts != sorted(watts) or watts[0] == watts[-1]:
            raise ValueError("the watts of `points` rise with the load")
        return self
