"""Where a model comes from: a Hugging Face folder, a hub id, or an ONNX file; all by one path."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from leptonbench.errors import PrerequisiteError, UsageError

_WEIGHTS = ("*.safetensors", "*.bin", "*.json", "*.txt", "*.model")


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model as it was given.

    Attributes:
        kind: `huggingface` (a folder with config.json) or `onnx` (one file).
        path: The folder or file.
        sha256: Of the config and weights, or of the ONNX file and its external data.
        name: What the user called it.
    """

    kind: Literal["huggingface", "onnx"]
    path: Path
    sha256: str
    name: str

    @property
    def folder(self) -> Path:
        """Return the folder that may hold the model's pre-processing."""
        return self.path if self.kind == "huggingface" else self.path.parent


def resolve_source(name: str, base: Path | None = None) -> ModelSource:
    """Find a model by path or hub id.

    Args:
        name: Folder, ONNX file or hub id.
        base: Folder that a relative path is looked up in first.

    Raises:
        UsageError: If it is none of the three.
        PrerequisiteError: If a hub id cannot be downloaded.
    """
    candidates = [base / name] if base else []
    path = next((p for p in (*candidates, Path(name).expanduser()) if p.exists()), None)
    if path is None:
        if name.endswith(".onnx") or name.startswith((".", "/", "~")) or name.count("/") > 1:
            raise UsageError(
                f"there is no model at `{name}`", hint="give a Hugging Face folder, a hub id or an ONNX file"
            )
        path = _download(name)
    if path.is_dir():
        return _huggingface(path, name)
    return _onnx(path, name)


def _huggingface(path: Path, name: str) -> ModelSource:
    if not (path / "config.json").is_file():
        raise UsageError(
            f"`{name}` is not a Hugging Face model folder",
            cause=f"{path / 'config.json'} does not exist",
            hint="save the model with `save_pretrained`, or give an .onnx file",
        )
    files = sorted({file for pattern in _WEIGHTS for file in path.glob(pattern)})
    return ModelSource("huggingface", path.resolve(), hash_files(files), name)


def _onnx(path: Path, name: str) -> ModelSource:
    import onnx

    try:
        files = onnx_files(path)
        onnx.checker.check_model(str(path))
    except Exception as error:  # protobuf, checker and I/O errors have no common base
        raise UsageError(
            f"`{name}` is not a valid ONNX model",
            cause=str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__,
            hint="export it again with torch.onnx.export, or give a Hugging Face folder",
        ) from error
    return ModelSource("onnx", path.resolve(), hash_files(files), name)


def onnx_files(path: Path) -> list[Path]:
    """Return an ONNX file and the files beside it that hold its weights."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    names = {entry.value for tensor in graph.initializer for entry in tensor.external_data if entry.key == "location"}
    return [path, *(path.parent / name for name in sorted(names))]


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(_WEIGHTS)))
    except Exception as error:  # the hub client raises many unrelated classes when there is no network
        raise PrerequisiteError(
            f"cannot get model `{name}` from the hub",
            cause=str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__,
            hint="check the id and the network, or download it elsewhere and give the folder",
        ) from error


def hash_files(files: list[Path]) -> str:
    """Return the sha256 over the names and bytes of several files."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode())
        with file.open("rb") as handle:
            while chunk := handle.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
