"""A tuned network on disk: a Hugging Face folder whose weights are packed, and how they came about.

    config.json          of the network, or of the student that replaced it
    preprocessor_config.json, tokenizer.json, ...   as the source has them
    weights.safetensors  packed (leptonbench.compression.packing)
    tuned.json           the source's hash, the steps, the seed, what was found out, and how modules differ from the
                         configuration's

Reading builds the network from its configuration, gives modules the sizes that pruning left them, and loads the
weights: no code of the technique is needed, and nothing is trained.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from leptonbench.compression.packing import load_packed, save_packed
from leptonbench.compression.shipped import TUNED_FILE, TUNED_FORMAT, WEIGHTS_FILE, read_document
from leptonbench.errors import UsageError
from leptonbench.schema import StepSpec
from leptonbench.tasks.network import Network

_PACKAGES = ("torch", "transformers", "torch-pruning")

LoadNetwork = Callable[[Path, bool], Network]


def save_tuned(
    folder: Path,
    network: Network,
    *,
    source: Path,
    source_sha256: str,
    steps: Sequence[StepSpec],
    origin: Mapping[str, Any],
    facts: Mapping[str, Any],
    load_network: LoadNetwork,
) -> None:
    """Write a tuned network as a folder.

    Args:
        folder: To write; made if it is not there.
        network: After the steps.
        source: The folder that the last step started from: the Hugging Face folder, or what a step before kept, with
            its student's configuration.
        source_sha256: Hash of the Hugging Face folder that the first step started from.
        steps: That were applied.
        origin: What else decided the result: seed, data, budget.
        facts: What the steps found out, by technique; a `config` among them replaces the source's.
        load_network: Builds the untrained network that the tuned one is compared with.
    """
    copy_settings(source, folder)
    told = {technique: dict(found) for technique, found in facts.items()}
    for found in told.values():
        if (config := found.pop("config", None)) is not None:
            (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    save_packed(network, folder / WEIGHTS_FILE)
    document = {
        "format": TUNED_FORMAT,
        "source_sha256": source_sha256,
        "steps": [step.model_dump() for step in steps],
        "origin": dict(origin),
        "facts": told,
        "attributes": differing_attributes(load_network(folder, False), network),
        "versions": {name: version(name) for name in _PACKAGES},
    }
    (folder / TUNED_FILE).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def copy_settings(source: Path, target: Path) -> None:
    """Copy what a Hugging Face folder says beside its configuration and weights: pre-processing, tokens."""
    target.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.iterdir()):
        if file.suffix in (".json", ".txt", ".model") and not file.name.endswith(".index.json"):
            shutil.copyfile(file, target / file.name)


def load_tuned(folder: Path, load_network: LoadNetwork) -> tuple[Network, dict[str, Any]]:
    """Read a folder that `save_tuned` wrote.

    Returns:
        The network in evaluation mode, and the document of `tuned.json`.

    Raises:
        UsageError: If the folder cannot be read.
    """
    document = read_document(folder)
    network = load_network(folder, False)
    try:
        fit(network, load_packed(folder / WEIGHTS_FILE), document["attributes"])
    except (KeyError, AttributeError, RuntimeError) as error:
        raise UsageError(
            f"the weights in `{folder}` do not fit the network that its config.json describes",
            cause=str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__,
            hint="the folder is damaged or of another version; remove it, so that it is made again",
        ) from error
    return network.eval().requires_grad_(False), document


def differing_attributes(plain: nn.Module, tuned: nn.Module) -> dict[str, dict[str, Any]]:
    """Return the sizes in which modules differ from those that their configuration gives, by module name.

    Sizes are whole numbers and tuples of them, of the module itself (`out_channels`, `groups`, `normalized_shape`) or
    of a configuration that it holds (`config.num_attention_heads`).
    """
    modules = dict(plain.named_modules())
    different: dict[str, dict[str, Any]] = {}
    for name, module in tuned.named_modules():
        if name not in modules:
            raise ValueError(f"module {name} is not in the network that the configuration describes")
        before, after = _sizes(modules[name]), _sizes(module)
        changed = {key: value for key, value in after.items() if before.get(key) != value}
        if changed:
            different[name] = changed
    return different


def _sizes(module: nn.Module) -> dict[str, Any]:
    found = {key: value for key, value in vars(module).items() if not key.startswith("_") and _is_size(value)}
    config = vars(module).get("config")
    if config is not None:
        found |= {f"config.{key}": value for key, value in vars(config).items() if _is_size(value) and key[0] != "_"}
    found.pop("training", None)
    return found


def _is_size(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(_is_size(each) for each in value)
    return isinstance(value, int) and not isinstance(value, bool)


def fit(network: nn.Module, state: Mapping[str, Tensor], attributes: Mapping[str, Mapping[str, Any]]) -> None:
    """Give modules the sizes of stored tensors and load them, in place.

    Args:
        network: As its configuration describes it.
        state: By the network's own names; every one must be there.
        attributes: As `differing_attributes` gives them.

    Raises:
        RuntimeError: If names are missing or left over.
        AttributeError: If a module is not there.
    """
    for name, sizes in attributes.items():
        module = network.get_submodule(name)
        for key, value in sizes.items():
            value = tuple(value) if isinstance(value, list) else value
            if key.startswith("config."):
                _own_config(module)
                setattr(module.config, key.removeprefix("config."), value)
            else:
                setattr(module, key, value)
    for name, tensor in state.items():
        owner, _, key = name.rpartition(".")
        module = network.get_submodule(owner)
        present = getattr(module, key)
        if present.shape == tensor.shape:
            continue
        if isinstance(present, nn.Parameter):
            setattr(module, key, nn.Parameter(torch.empty_like(tensor), requires_grad=False))
        else:
            setattr(module, key, torch.empty_like(tensor))
    network.load_state_dict(dict(state))


def _own_config(module: Any) -> None:
    """Give a module a configuration of its own, so that a change does not reach the others."""
    if not getattr(module, "_owns_config", False):
        module.config = copy.copy(module.config)
        module._owns_config = True
