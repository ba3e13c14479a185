"""Write the profiles of GPUs, TPUs and NPUs from the published figures.

Run `python hardware_profiles/derive_accelerators.py` to write `gpu/ tpu/ npu/*.yaml`; a test compares them with
what this would write. The figures are the rows of `published/accelerator_specs.csv`, each with its sources. Which
devices share a chip or an architecture, and under which names they published MLPerf results, is said here.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

HERE = Path(__file__).parent
SPECS = HERE / "published" / "accelerator_specs.csv"
READ = "2026-08"  # when the sources of the figures were read
TERA, GIGA = 1e12, 1e9

_OFFER = re.compile(
    r"(?P<provider>aws|azure|gcp) (?P<sku>\S+)(?P<spot> SPOT)?(?: \((?P<count>\d+)x[^)]*\))? (?P<usd>\d+(?:\.\d+)?)"
    r" \((?P<region>[a-z0-9-]+)[,;] (?P<date>\d{4}-\d{2}-\d{2})[^)]*\)"
)
_FROM_MEMORY = "memory, unverified"  # how the table marks what no source was found for
_NOT_OF_FIGURES = ("pricing", "skypilot", "AwsFootprint", "fields named in notes")  # sources of prices and idle power
_WORDS = {
    "memory_gb": ("memory gb",),
    "memory_bw_gb_s": ("bandwidth",),
    "tdp_w": ("tdp",),
    "int8_tops": ("int8", "tops"),
}
_WORDS |= {"tf32_tflops": ("tf32",), "fp32_tflops": ("fp32",)}


class Device(NamedTuple):
    """One device: its relatives, its row among the figures and its names among the results.

    Attributes:
        row: `model` of its row; empty where the table of figures has none.
        half: What the column of 16-bit figures stands for.
    """

    name: str
    kind: str
    title: str
    vendor: str
    architecture: str
    chip: str
    row: str = ""
    published_as: tuple[str, ...] = ()
    half: tuple[str, ...] = ("fp16", "bf16")
    lacks: tuple[str, ...] = ()


def _nvidia(name: str, title: str, architecture: str, chip: str, *published: str, row: str = "", **more: Any) -> Device:
    names = tuple(f"NVIDIA {one}" for one in published)
    return Device(f"nvidia-{name}", "gpu", f"NVIDIA {title}", "nvidia", architecture, chip, row, names, **more)


def _qualcomm(name: str, title: str, *published: str, row: str = "") -> Device:
    names = tuple(f"QUALCOMM Cloud AI 100 {one}" for one in published)
    title = f"Qualcomm Cloud AI 100 {title}"
    return Device(f"qualcomm-ai100-{name}", "npu", title, "qualcomm", "ai100", "ai100", row, names, ("fp16",))


_OLD = {"half": ("fp16",), "lacks": ("bf16", "tf32", "fp8")}  # before Ampere
_AMPERE = {"lacks": ("fp8",)}

DEVICES: tuple[Device, ...] = (
    _nvidia("p4", "P4 8 GB", "pascal", "gp104", row="P4 8GB", **_OLD),
    _nvidia("p100", "P100 16 GB", "pascal", "gp100", row="P100 16GB", **_OLD),
    _nvidia("v100-sxm2", "V100 SXM2", "volta", "gv100", row="V100 SXM2 16/32GB", **_OLD),
    _nvidia("v100s", "V100S PCIe 32 GB", "volta", "gv100", "V100S", **_OLD),
    _nvidia("agx-xavier", "Jetson AGX Xavier", "xavier", "gv11b", "AGX Xavier", row="Jetson AGX Xavier", **_OLD),
    _nvidia("xavier-nx", "Jetson Xavier NX", "xavier", "gv11b", "Xavier NX", row="Jetson Xavier NX", **_OLD),
    _nvidia("t4", "T4 16 GB", "turing", "tu104", "T4", row="T4 16GB", **_OLD),
    _nvidia("titan-rtx", "TITAN RTX", "turing", "tu102", "TITAN RTX", **_OLD),
    _nvidia("quadro-rtx-6000", "Quadro RTX 6000", "turing", "tu102", "Quadro RTX 6000", **_OLD),
    _nvidia("quadro-rtx-8000", "Quadro RTX 8000", "turing", "tu102", "Quadro RTX 8000", **_OLD),
    _nvidia("a2", "A2 16 GB", "ampere", "ga107", "A2", row="A2 16GB", **_AMPERE),
    _nvidia("a10", "A10 24 GB", "ampere", "ga102", "A10", row="A10 24GB", **_AMPERE),
    _nvidia("a10g", "A10G 24 GB", "ampere", "ga102", row="A10G 24GB (AWS SKU)", **_AMPERE),
    _nvidia("a16", "A16", "ampere", "ga107", "A16", **_AMPERE),
    _nvidia("a30", "A30 24 GB", "ampere", "ga100", "A30", "A30-PCIe-24GB", row="A30 24GB", **_AMPERE),
    _nvidia("a40", "A40 48 GB", "ampere", "ga102", "A40", row="A40 48GB", **_AMPERE),
    _nvidia("rtx-a5000", "RTX A5000", "ampere", "ga102", "RTX A5000", "RTX A5000 GPU", **_AMPERE),
    _nvidia("rtx-a6000", "RTX A6000 48 GB", "ampere", "ga102", row="RTX A6000 48GB", **_AMPERE),
    _nvidia(
        "a100-sxm-40gb",
        "A100 SXM4 40 GB",
        "ampere",
        "ga100",
        "A100-SXM",
        "A100-SXM-40GB",
        row="A100 SXM4 40GB",
        **_AMPERE,
    ),
    _nvidia(
        "a100-sxm-80gb",
        "A100 SXM4 80 GB",
        "ampere",
        "ga100",
        "A100-SXM-80GB",
        "A100-SXM-80GB CTS",
        row="A100 SXM4 80GB",
        **_AMPERE,
    ),
    _nvidia("a100-pcie-40gb", "A100 PCIe 40 GB", "ampere", "ga100", "A100-PCIe", "A100-PCIe-40GB", **_AMPERE),
    _nvidia(
        "a100-pcie-80gb",
        "A100 PCIe 80 GB",
        "ampere",
        "ga100",
        "A100-PCIe-80GB",
        "A100-PCIe_80GB",
        row="A100 PCIe 80GB",
        **_AMPERE,
    ),
    _nvidia("drive-a100", "DRIVE A100 PCIe", "ampere", "ga100", "Drive-A100-PCIe", **_AMPERE),
    _nvidia(
        "jetson-agx-orin", "Jetson AGX Orin", "orin", "ga10b", "Jetson AGX Orin", "Orin", row="Jetson AGX Orin 64GB"
    ),
    _nvidia("jetson-orin-nx", "Jetson Orin NX 16 GB", "orin", "ga10b", "Orin NX", row="Jetson Orin NX 16GB"),
    _nvidia("jetson-orin-nano", "Jetson Orin Nano Super", "orin", "ga10b", row="Jetson Orin Nano Super 8GB"),
    _nvidia("l4", "L4 24 GB", "ada", "ad104", "L4", "L4-PCIe-24GB", row="L4 24GB"),
    _nvidia("l40", "L40 48 GB", "ada", "ad102", "L40", row="L40 48GB"),
    _nvidia("l40s", "L40S 48 GB", "ada", "ad102", "L40S", row="L40S 48GB"),
    _nvidia("rtx-2000e-ada", "RTX 2000E Ada 16 GB", "ada", "ad107", "RTX-2000E-Ada-16GB"),
    _nvidia("rtx-4000-ada", "RTX 4000 Ada 20 GB", "ada", "ad104", "RTX 4000 Ada-PCIe-20GB"),
    _nvidia(
        "rtx-4090",
        "GeForce RTX 4090 24 GB",
        "ada",
        "ad102",
        "GeForce RTX 4090",
        "GeForce RTX 4090 (Ada Lovelace)",
        row="GeForce RTX 4090 24GB",
    ),
    _nvidia("h100-pcie", "H100 PCIe 80 GB", "hopper", "gh100", "H100-PCIe-80GB", row="H100 PCIe 80GB"),
    _nvidia("h100-sxm", "H100 SXM5 80 GB", "hopper", "gh100", "H100-SXM-80GB", row="H100 SXM5 80GB"),
    _nvidia("h100-nvl", "H100 NVL 94 GB", "hopper", "gh100", "H100-NVL-94GB"),
    _nvidia("h200-sxm", "H200 SXM 141 GB", "hopper", "gh100", "H200-SXM-141GB", row="H200 SXM 141GB"),
    _nvidia("h200-nvl", "H200 NVL 141 GB", "hopper", "gh100", "H200-NVL-141GB"),
    _nvidia("gh200-96gb", "GH200 96 GB", "hopper", "gh100", "GH200 Grace Hopper Superchip 96GB"),
    _nvidia("b200-sxm", "B200 SXM 180 GB", "blackwell", "gb100", "B200-SXM-180GB", row="B200 SXM 180GB"),
    _nvidia("gb200", "GB200 (one GPU)", "blackwell", "gb100", "GB200", row="GB200 (per GPU)"),
    _nvidia("b300-sxm", "B300 SXM", "blackwell", "gb110", row="B300 SXM"),
    _nvidia("gb300", "GB300 (one GPU)", "blackwell", "gb110", row="GB300 (per GPU)"),
    _nvidia("rtx-pro-6000", "RTX PRO 6000 Blackwell", "blackwell", "gb202", row="RTX PRO 6000 Blackwell Server"),
    Device("amd-mi100", "gpu", "AMD MI100 32 GB", "amd", "cdna", "arcturus", "MI100 32GB"),
    Device("amd-mi210", "gpu", "AMD MI210 64 GB", "amd", "cdna2", "aldebaran", "MI210 64GB"),
    Device("amd-mi300x", "gpu", "AMD MI300X 192 GB", "amd", "cdna3", "mi300", "MI300X 192GB"),
    Device(
        "intel-arc-pro-b60", "gpu", "Intel Arc Pro B60", "intel", "xe2", "bmg-g21", "Arc Pro B60 24GB", lacks=("fp8",)
    ),
    Device("biren-br104", "gpu", "Biren BR104 300 W", "biren", "br100", "br104", published_as=("BR104-300W PCIe",)),
    *(
        Device(
            f"google-tpu-{name}",
            "tpu",
            f"Google TPU {name} (one chip)",
            "google",
            name,
            name,
            row,
            names,
            ("bf16",),
            no,
        )
        for name, row, names, no in (
            ("v2", "TPU v2 (chip)", (), ()),
            ("v3", "TPU v3 (chip)", (), ("int8", "fp8", "fp16")),
            ("v4", "TPU v4 (chip)", (), ()),
            ("v5e", "TPU v5e (chip)", ("TPU v5e",), ()),
            ("v5p", "TPU v5p (chip)", (), ()),
            ("v6e", "TPU v6e Trillium (chip)", ("TPU v6",), ()),
        )
    ),
    Device(
        "aws-inferentia1",
        "npu",
        "AWS Inferentia",
        "aws",
        "neuron1",
        "inferentia1",
        "Inferentia1 (chip)",
        ("Inferentia",),
    ),
    Device("aws-inferentia2", "npu", "AWS Inferentia2", "aws", "neuron2", "inferentia2", "Inferentia2 (chip)"),
    Device("aws-trainium1", "npu", "AWS Trainium", "aws", "neuron2", "trainium1", "Trainium1 (chip)"),
    Device("intel-gaudi", "npu", "Intel Gaudi", "habana", "gaudi1", "gaudi1", "Gaudi (1)"),
    Device("intel-gaudi2", "npu", "Intel Gaudi 2", "habana", "gaudi2", "gaudi2", "Gaudi2", ("Intel Gaudi2",)),
    Device("intel-gaudi3", "npu", "Intel Gaudi 3", "habana", "gaudi3", "gaudi3", "Gaudi3"),
    Device("intel-goya", "npu", "Intel Goya", "habana", "goya", "goya", published_as=("Goya",)),
    _qualcomm("standard", "Standard", "PCIe/HHHL Standard", row="Cloud AI 100 Standard (PCIe)"),
    _qualcomm("hhhl", "PCIe HHHL (2021)", "PCIe HHHL"),  # of rounds v1.0 and v1.1, which do not say which card it is
    _qualcomm("pro", "Pro", "PCIe/HHHL Pro", row="Cloud AI 100 Pro (PCIe)"),
    _qualcomm("lite", "Lite", "PCIe/HHHL Lite", row="Cloud AI 100 Lite (PCIe)"),
    _qualcomm("ultra", "Ultra", row="Cloud AI 100 Ultra"),
    _qualcomm("dm2", "DM.2", "DM.2", row="Cloud AI 100 DM.2"),
    _qualcomm("dm2e", "DM.2e", "DM.2e", row="Cloud AI 100 DM.2e"),
    Device("furiosa-warboy", "npu", "FuriosaAI Warboy", "furiosa", "warboy", "warboy", "Warboy", ("FuriosaAI Warboy",)),
    Device("hailo-8", "npu", "Hailo-8", "hailo", "hailo8", "hailo8", published_as=("Hailo8",)),
    Device("alibaba-hanguang-800", "npu", "HanGuang 800", "alibaba", "hanguang", "800", published_as=("HanGuang 800",)),
    *(
        Device(
            f"moffett-{name}",
            "npu",
            f"Moffett {title}",
            "moffett",
            "antoum",
            "antoum",
            published_as=(f"MOFFETT {title}",),
        )
        for name, title in (
            ("s4", "S4-PCIe/HHHL-20GB"),
            ("s10", "S10-PCIe/FHFL-40GB"),
            ("s30", "S30-PCIe/FHFL-60GB"),
            ("s40", "S40-PCIe/FHFL-80GB"),
        )
    ),
    *(
        Device(
            f"sapeon-x220-{name}",
            "npu",
            f"SAPEON X220-{name}",
            "sapeon",
            "x220",
            "x220",
            published_as=(f"SAPEON X220-{name}",),
        )
        for name in ("compact", "enterprise")
    ),
    Device("rebellions-atom", "npu", "Rebellions ATOM", "rebellions", "atom", "atom", published_as=("RBLN ATOM",)),
    Device(
        "untether-speedai240", "npu", "Untether speedAI240 Slim", "untether", "speedai", "speedai240", "speedAI240 Slim"
    ),
    Device("neuchips-n3000", "npu", "Neuchips RecAccel N3000", "neuchips", "recaccel", "n3000", "RecAccel N3000"),
)


# What NVML calls them; from memory, unverified.
DRIVER_NAMES: dict[str, tuple[str, ...]] = {
    "nvidia-v100-sxm2": ("Tesla V100-SXM2-16GB", "Tesla V100-SXM2-32GB"),
    "nvidia-t4": ("Tesla T4",),
    "nvidia-a2": ("NVIDIA A2",),
    "nvidia-a10": ("NVIDIA A10",),
    "nvidia-a10g": ("NVIDIA A10G",),
    "nvidia-a16": ("NVIDIA A16",),
    "nvidia-a30": ("NVIDIA A30",),
    "nvidia-a40": ("NVIDIA A40",),
    "nvidia-rtx-a5000": ("NVIDIA RTX A5000",),
    "nvidia-rtx-a6000": ("NVIDIA RTX A6000",),
    "nvidia-a100-sxm-40gb": ("NVIDIA A100-SXM4-40GB",),
    "nvidia-a100-sxm-80gb": ("NVIDIA A100-SXM4-80GB",),
    "nvidia-a100-pcie-40gb": ("NVIDIA A100-PCIE-40GB",),
    "nvidia-a100-pcie-80gb": ("NVIDIA A100 80GB PCIe",),
    "nvidia-l4": ("NVIDIA L4",),
    "nvidia-l40": ("NVIDIA L40",),
    "nvidia-l40s": ("NVIDIA L40S",),
    "nvidia-rtx-4090": ("NVIDIA GeForce RTX 4090",),
    "nvidia-h100-pcie": ("NVIDIA H100 PCIe",),
    "nvidia-h100-sxm": ("NVIDIA H100 80GB HBM3",),
    "nvidia-h100-nvl": ("NVIDIA H100 NVL",),
    "nvidia-h200-sxm": ("NVIDIA H200",),
    "nvidia-b200-sxm": ("NVIDIA B200",),
}


def read_rows() -> dict[str, dict[str, str]]:
    """Return the published figures by model."""
    with SPECS.open(encoding="utf-8", newline="") as file:
        return {row["model"]: row for row in csv.DictReader(file)}


def profile(device: Device, row: dict[str, str] | None) -> dict[str, Any]:
    """Return what the device's YAML file holds."""
    spec: dict[str, Any] = {"vendor": device.vendor, "architecture": device.architecture, "chip": device.chip}
    if device.published_as:
        spec["published_as"] = list(device.published_as)
    if device.name in DRIVER_NAMES:
        spec["driver_names"] = list(DRIVER_NAMES[device.name])
    if device.lacks:
        spec["lacks"] = list(device.lacks)
    if row is not None:
        spec |= _figures(device, row)
    title = {"en": device.title, "zh": device.title}
    return {"name": device.name, "kind": device.kind, "title": title, "accelerator": spec}


def _figures(device: Device, row: dict[str, str]) -> dict[str, Any]:
    columns = {"fp32": "fp32_tflops", "tf32": "tf32_tflops", "fp8": "fp8_tflops", "int8": "int8_tops"}
    columns |= dict.fromkeys(device.half, "fp16_bf16_tflops")
    found: dict[str, Any] = {}
    peaks = {
        precision: _fact(row, columns[precision], "OP/s", TERA)
        for precision in ("fp32", "tf32", "fp16", "bf16", "fp8", "int8")
        if precision in columns and row[columns[precision]] and precision not in device.lacks
    }
    if peaks:
        found["peak_ops_per_s"] = peaks
    for key, column, unit, scale in (
        ("memory_bytes", "memory_gb", "B", GIGA),
        ("memory_bytes_per_s", "memory_bw_gb_s", "B/s", GIGA),
        ("tdp_w", "tdp_w", "W", 1.0),
    ):
        if row[column]:
            found[key] = _fact(row, column, unit, scale)
    offers = [_offer(match, row) for match in _OFFER.finditer(row["cloud_on_demand"])]
    return found | ({"offers": offers} if offers else {})


def _fact(row: dict[str, str], column: str, unit: str, scale: float) -> dict[str, Any]:
    """Return a figure in SI with its sources; one that no source gave is marked as assumed."""
    parts = [part.strip() for part in row["source"].split(";")]
    source = "; ".join(part for part in parts if not any(word in part for word in _NOT_OF_FIGURES)) or row["source"]
    fact: dict[str, Any] = {"value": float(row[column]) * scale, "unit": unit, "source": source, "date": READ}
    told = [part.strip() for part in row["notes"].split(";") if _FROM_MEMORY in part]
    if (
        any(word in part.casefold() for part in told for word in _WORDS.get(column, ()))
        or row["source"] == _FROM_MEMORY
    ):
        fact |= {"assumed": True, "note": "from memory; no source was found that states it"}
    elif "derived" in row["notes"] and column == "int8_tops":
        fact |= {"assumed": True, "note": row["notes"].split(";")[0]}
    return fact


def _offer(match: re.Match[str], row: dict[str, str]) -> dict[str, Any]:
    lists = [part.strip() for part in row["source"].split(";")]
    marks = {"aws": "pricing_aws", "azure": "provider-azure", "gcp": "provider-gcp"}
    provider = match["provider"]
    source = next((part for part in lists if marks[provider] in part), row["source"])
    offer = {
        "provider": provider,
        "sku": match["sku"],
        "region": match["region"],
        "devices": int(match["count"] or 1),
        "terms": "spot" if match["spot"] else "on-demand",
    }
    price = {"value": float(match["usd"]), "unit": "USD/h", "source": source, "date": match["date"]}
    return offer | {"price_per_hour": price}


def documents() -> dict[Path, str]:
    """Return every file's text by its path."""
    rows = read_rows()
    return {
        HERE / device.kind / f"{device.name}.yaml": yaml.safe_dump(
            profile(device, rows[device.row] if device.row else None), sort_keys=False, allow_unicode=True, width=1000
        )
        for device in DEVICES
    }


def main() -> None:
    """Write every profile."""
    for path, text in documents().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
