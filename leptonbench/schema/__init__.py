"""The ground floor: frozen models, no input or output, no engine."""

from __future__ import annotations

from leptonbench.schema.accelerator import AcceleratorOffer, AcceleratorSpec
from leptonbench.schema.artifact import Artifact, TensorSpec
from leptonbench.schema.cause import Cause
from leptonbench.schema.demand import DemandSpec
from leptonbench.schema.environment import Fingerprint, Identity, State
from leptonbench.schema.fact import Fact
from leptonbench.schema.metrics import METRICS, Direction, MetricSpec
from leptonbench.schema.quantity import Boundary, Frozen, Provenance, Quantity, weakest
from leptonbench.schema.record import (
    SCHEMA_VERSION,
    Assumption,
    CellRecord,
    EnergyReading,
    Notice,
    Reason,
    RoundRecord,
    RunManifest,
    Settings,
    Status,
)
from leptonbench.schema.spec import (
    CellSpec,
    CloudPrice,
    CpuMatch,
    DataSpec,
    DeviceProfile,
    EngineOptions,
    Exclusion,
    IsaRule,
    IsaTable,
    OwnedPrice,
    PowerProfile,
    QualitySpec,
    RegionProfile,
    RegionTable,
    Scenario,
    ScenarioSpec,
    StepSpec,
    SuiteSpec,
    VariantSpec,
    WorkloadSpec,
)

__all__ = [
    "METRICS",
    "SCHEMA_VERSION",
    "AcceleratorOffer",
    "AcceleratorSpec",
    "Artifact",
    "Assumption",
    "Boundary",
    "Cause",
    "CellRecord",
    "CellSpec",
    "CloudPrice",
    "CpuMatch",
    "DataSpec",
    "DemandSpec",
    "DeviceProfile",
    "Direction",
    "EnergyReading",
    "EngineOptions",
    "Exclusion",
    "Fact",
    "Fingerprint",
    "Frozen",
    "Identity",
    "IsaRule",
    "IsaTable",
    "MetricSpec",
    "Notice",
    "OwnedPrice",
    "PowerProfile",
    "Provenance",
    "QualitySpec",
    "Quantity",
    "Reason",
    "RegionProfile",
    "RegionTable",
    "RoundRecord",
    "RunManifest",
    "Scenario",
    "ScenarioSpec",
    "Settings",
    "State",
    "Status",
    "StepSpec",
    "SuiteSpec",
    "TensorSpec",
    "VariantSpec",
    "WorkloadSpec",
    "weakest",
]
