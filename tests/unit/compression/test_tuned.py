"""Tuned networks on disk: they come back as they were, and stale ones are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from leptonbench.compression.channels import remove_channels
from leptonbench.compression.masks import magnitude_mask
from leptonbench.compression.shipped import check_shipped, find_tuned, read_document
from leptonbench.compression.tuned import differing_attributes, fit, load_tuned, save_tuned
from leptonbench.errors import UsageError
from leptonbench.schema import StepSpec
from leptonbench.tasks.network import Network
from tests.unit.compression.conftest import SIDE, Kit, load, load_parakeet, utterances

STEPS = (StepSpec(technique="prune-channels", options={"ratio": 0.5}),)
IMAGES = {"pixel_values": torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))}


def _halve_precision(network: Network) -> None:
    """Round weights as packing will, so that answers can be compared exactly."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.copy_(parameter.half().float())


def _save(folder: Path, network: Network, kit: Kit, *, sha: str = "abc", load_network: object = load) -> Path:
    save_tuned(
        folder,
        network,
        source=kit.folder,
        source_sha256=sha,
        steps=STEPS,
        origin={"seed": 1},
        facts={"prune-channels": {"removed": {}}},
        load_network=load_network,  # type: ignore[arg-type]
    )
    return folder


def test_a_pruned_network_comes_back(kit: Kit, tmp_path: Path) -> None:
    network = kit.network()
    remove_channels(network, IMAGES, ratio=0.5)
    _halve_precision(network)
    folder = _save(tmp_path / "tuned", network, kit)
    loaded, document = load_tuned(folder, load)
    assert torch.equal(loaded(**IMAGES)[0], network(**IMAGES)[0])
    assert document["facts"] == {"prune-channels": {"removed": {}}}
    assert document["origin"] == {"seed": 1}
    assert not loaded.training
    assert (folder / "preprocessor_config.json").read_text() == (kit.folder / "preprocessor_config.json").read_text()


def test_a_pruned_conformer_comes_back(parakeet: Path, kit: Kit, tmp_path: Path) -> None:
    network = load_parakeet(parakeet, True)
    remove_channels(network, utterances(), ratio=0.5)
    _halve_precision(network)
    kit.folder = parakeet
    folder = _save(tmp_path / "tuned", network, kit, load_network=load_parakeet)
    loaded, document = load_tuned(folder, load_parakeet)
    assert document["attributes"]["model.encoder.layers.0.self_attn"]["config.num_attention_heads"] == 2
    assert torch.equal(loaded(**utterances())[0], network(**utterances())[0])


def test_a_masked_network_comes_back_small(kit: Kit, tmp_path: Path) -> None:
    network = kit.network()
    with torch.no_grad():
        for name, kept in magnitude_mask(network, 0.8).items():
            network.get_parameter(name).mul_(kept)
    _halve_precision(network)
    folder = _save(tmp_path / "tuned", network, kit)
    loaded, document = load_tuned(folder, load)
    assert document["attributes"] == {}
    assert torch.equal(loaded(**IMAGES)[0], network(**IMAGES)[0])
    assert (folder / "weights.safetensors").stat().st_size < 0.3 * (kit.folder / "model.safetensors").stat().st_size


def test_modules_that_are_equal_differ_in_nothing(kit: Kit) -> None:
    assert differing_attributes(kit.network(), kit.network()) == {}


def test_weights_that_are_missing_or_left_over_are_refused(kit: Kit, tmp_path: Path) -> None:
    state = kit.network().state_dict()
    with pytest.raises(RuntimeError, match="Missing key"):
        fit(kit.network(), dict(list(state.items())[1:]), {})
    folder = _save(tmp_path / "tuned", kit.network(), kit)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_sizes": [16, 32, 64], "depths": [1, 1, 1]}))
    with pytest.raises(UsageError, match="do not fit the network") as raised:
        load_tuned(folder, load)
    assert raised.value.cause and raised.value.hint


def test_the_right_folder_is_found_among_others(kit: Kit, tmp_path: Path) -> None:
    _save(tmp_path / "a", kit.network(), kit, sha="other model")
    _save(tmp_path / "b", kit.network(), kit)
    assert find_tuned(tmp_path, "abc", STEPS) == tmp_path / "b"
    assert find_tuned(tmp_path, "abc", (StepSpec(technique="prune-channels", options={"ratio": 0.3}),)) is None
    assert find_tuned(tmp_path, "abd", STEPS) is None
    assert find_tuned(tmp_path / "none", "abc", STEPS) is None
    assert find_tuned(None, "abc", STEPS) is None


def test_tuned_weights_of_another_model_are_refused_with_the_command(kit: Kit, tmp_path: Path) -> None:
    shipped = tmp_path / "inspection" / "tuned"
    _save(shipped / "prune50-channel", kit.network(), kit)
    check_shipped(shipped, "abc")
    with pytest.raises(UsageError, match="are of another model") as raised:
        check_shipped(shipped, "another")
    assert "another" in raised.value.cause
    assert "tune_variants.py --workload inspection --variant prune50-channel" in raised.value.hint


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 99}', "{}"])
def test_a_damaged_document_is_refused(kit: Kit, tmp_path: Path, text: str) -> None:
    folder = _save(tmp_path / "tuned", kit.network(), kit)
    (folder / "tuned.json").write_text(text)
    with pytest.raises(UsageError, match="cannot be read") as raised:
        read_document(folder)
    assert "remove the folder" in raised.value.hint
