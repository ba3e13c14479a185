from __future__ import annotations

import pytest

from leptonbench.catalog import load_yaml
from leptonbench.paths import data_root
from leptonbench.schema import IsaTable
from leptonbench.stats.theory import peak_rule, theoretical_speedup

TABLE = load_yaml(data_root() / "hardware_profiles" / "isa.yaml", IsaTable)
MILAN = ("sse4_1", "avx2", "fma")
SAPPHIRE_RAPIDS = ("avx2", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "amx_tile")


@pytest.mark.parametrize(
    ("precision", "flags", "expected", "rule"),
    [
        ("fp32", (), 1.0, "fp32"),
        ("int8", MILAN, 4 / 3, "avx2-int8"),
        ("int8", (*MILAN, "avx_vnni"), 4.0, "avx-vnni"),
        ("int8", SAPPHIRE_RAPIDS, 32.0, "amx-int8"),
        ("int8", SAPPHIRE_RAPIDS[:4], 4.0, "avx512-vnni"),
        ("bf16", MILAN, 1.0, "bf16-emulated"),
        ("bf16", SAPPHIRE_RAPIDS[:5], 2.0, "avx512-bf16"),
        ("bf16", SAPPHIRE_RAPIDS, 16.0, "amx-bf16"),
        ("int8", ("asimddp",), 4.0, "arm-dotprod"),
        ("int8", ("asimddp", "i8mm"), 8.0, "arm-i8mm"),
    ],
)
def test_the_best_instruction_that_the_cpu_has_decides(precision, flags, expected, rule):
    result = theoretical_speedup(1e9, 1e9, precision=precision, cpu_flags=flags, table=TABLE)
    assert result is not None
    assert (result.value, result.rule) == (pytest.approx(expected, abs=1e-3), rule)
    assert result.low <= result.value <= result.high


def test_fewer_multiply_accumulates_multiply_the_ratio():
    result = theoretical_speedup(4e9, 2e9, precision="int8", cpu_flags=("avx512_vnni",), table=TABLE)
    assert result is not None
    assert (result.value, result.mac_ratio, result.arithmetic_ratio) == (8.0, 2.0, 4.0)


def test_a_cpu_without_a_rule_has_no_theory():
    assert theoretical_speedup(1.0, 1.0, precision="int8", cpu_flags=(), table=TABLE) is None
    assert peak_rule(TABLE, precision="int4", cpu_flags=MILAN) is None


def test_counts_must_be_positive():
    with pytest.raises(ValueError, match="positive"):
        theoretical_speedup(1.0, 0.0, precision="fp32", cpu_flags=(), table=TABLE)
