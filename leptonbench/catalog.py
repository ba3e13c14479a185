"""Read and validate the data folders: suites, workloads, variants and hardware profiles.

Whatever is wrong in a file becomes one `UsageError` that names the file, the line and the dotted key.
YAML is read by the safe loader with four surprises taken out: a duplicate key is an error, dates stay text, `1e-3` is
a number, and only `true` and `false` are booleans.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from leptonbench.errors import UsageError
from leptonbench.paths import data_root
from leptonbench.registry import closest, unknown
from leptonbench.schema import DeviceProfile, EventEnergies, SuiteSpec, VariantSpec, WorkloadSpec

if TYPE_CHECKING:
    import yaml
    from pydantic_core import ErrorDetails

M = TypeVar("M", bound=BaseModel)
_Location = Sequence[int | str]

_NAME = re.compile(r"""^name:[ ]*["']?([^"'\n#]+?)["']?[ ]*$""", re.MULTILINE)
DEVICE_KINDS = ("cpu", "gpu", "fpga", "tpu", "npu")


def suite_names() -> tuple[str, ...]:
    """Return the names of the suites that come with leptonbench, sorted."""
    return _stems(data_root() / "workloads" / "suites")


def variant_names() -> tuple[str, ...]:
    """Return the names of the variants that come with leptonbench, sorted.

    A colon (`sparse-2:4`) cannot be in a file's name on every system, and is a hyphen there: such a file's own word
    counts. Any other file has to be called what it says.
    """
    names = []
    for path in (data_root() / "workloads" / "variants").glob("*.yaml"):
        found = _NAME.search(path.read_text(encoding="utf-8"))
        said = found[1] if found else ""
        names.append(said if said.replace(":", "-") == path.stem else path.stem)
    return tuple(sorted(names))


def workload_names() -> tuple[str, ...]:
    """Return the names of the workloads that come with leptonbench, sorted."""
    return tuple(sorted(found.parent.name for found in (data_root() / "workloads").glob("*/workload.yaml")))


def load_suite(name_or_path: str) -> SuiteSpec:
    """Load a suite by name, or from a file if it looks like a path (`/` in it, or ends in `.yaml`).

    Raises:
        UsageError: If there is no such suite, the file is wrong, or it names a workload or variant that is not there.
    """
    path = _find("suite", name_or_path, suite_names(), pattern="workloads/suites/{}.yaml")
    document = _read(path)
    suite = document.validate(SuiteSpec)
    _check_references(document, suite)
    return suite


def load_workload(name: str) -> tuple[WorkloadSpec, Path]:
    """Load a workload and the folder that its relative paths start from.

    Raises:
        UsageError: If there is no such workload or its file is wrong.
    """
    path = _find("workload", name, workload_names(), pattern="workloads/{}/workload.yaml")
    document = _read(path)
    workload = document.validate(WorkloadSpec)
    _check_name(document, workload.name, path.parent.name)
    return workload, path.parent


def load_variant(name: str) -> VariantSpec:
    """Load a variant by name or from a file if it looks like a path; `a+b` is a's steps and then b's.

    Raises:
        UsageError: If there is no such variant or its file is wrong.
    """
    if "+" in name and name not in variant_names() and not name.endswith((".yaml", ".yml")):
        return _composed(name)
    path = _find("variant", name, variant_names(), pattern="workloads/variants/{}.yaml")
    document = _read(path)
    variant = document.validate(VariantSpec)
    _check_name(document, variant.name.replace(":", "-"), path.stem)
    return variant


def _composed(name: str) -> VariantSpec:
    """Return a variant of several others' steps in order; its precision is the last that is not fp32."""
    parts = [load_variant(part) for part in name.split("+")]
    narrow = [part.precision for part in parts if part.precision != "fp32"]
    return VariantSpec(
        name=name,
        title={
            "en": ", then ".join(part.title["en"] for part in parts),
            "zh": "，再".join(part.title["zh"] for part in parts),
        },
        steps=tuple(step for part in parts for step in part.steps),
        precision=narrow[-1] if narrow else "fp32",
    )


def load_profiles(kind: str) -> list[DeviceProfile]:
    """Load every hardware profile of a kind (`cpu`, `gpu`, `fpga`, `tpu`, `npu`), in the order of their file names.

    Raises:
        UsageError: If the kind is unknown, a file is wrong, or two files describe a device of the same name.
    """
    if kind not in DEVICE_KINDS:
        raise unknown("device kind", kind, DEVICE_KINDS)
    found: dict[str, Path] = {}
    profiles = []
    for path in sorted((data_root() / "hardware_profiles" / kind).glob("*.yaml")):
        profile = load_yaml(path, DeviceProfile)
        if profile.name in found:
            raise UsageError(
                f"two hardware profiles are called `{profile.name}`",
                cause=f"`{found[profile.name]}` and `{path}`",
                hint="rename one of them",
            )
        found[profile.name] = path
        profiles.append(profile)
    return profiles


def board_names() -> tuple[str, ...]:
    """Return the names of the FPGA boards that come with leptonbench, sorted."""
    return _stems(data_root() / "hardware_profiles" / "fpga")


def load_board(name_or_path: str) -> DeviceProfile:
    """Load an FPGA board by name, or from a file if it looks like a path; its `board` part is there and can be built.

    Raises:
        UsageError: If there is no such board, or its file is wrong: no `board` part, or a core that cannot be built.
    """
    from leptonbench.fpga.core import CoreShape

    path = _find("board", name_or_path, board_names(), pattern="hardware_profiles/fpga/{}.yaml")
    document = _read(path)
    profile = document.validate(DeviceProfile)
    _check_name(document, profile.name, path.stem)
    if profile.kind != "fpga" or profile.board is None:
        raise document.error("", 1, "a board is of kind `fpga` and has a part `board`", "see docs/fpga.md")
    try:
        CoreShape(**profile.board.core.model_dump())
    except UsageError as error:
        where = ("board", "core", error.cause.partition("`")[2].partition("`")[0])
        raise document.error(document.dotted(where), document.line(where), error.cause, error.hint) from error
    return profile


def event_energies() -> EventEnergies:
    """Return what events in an accelerator cost, joules each.

    Raises:
        UsageError: If the file is wrong.
    """
    return load_yaml(data_root() / "hardware_profiles" / "event_energy.yaml", EventEnergies)


def load_yaml(path: Path, model: type[M]) -> M:
    """Read one YAML file into a model.

    Raises:
        UsageError: If it cannot be read, is not YAML or does not fit; names file, line and dotted key.
    """
    return _read(path).validate(model)


class _Document(NamedTuple):
    """A YAML file as data and as a tree of nodes that remember their lines."""

    path: Path
    root: yaml.Node | None
    data: Any

    def validate(self, model: type[M]) -> M:
        """Build the model, or raise the first error in the order of the file."""
        try:
            return model.model_validate(self.data)
        except ValidationError as caught:
            details = _deepest(caught.errors(include_url=False, include_context=False))
        located = [(self.line(detail["loc"]), detail) for detail in details]
        line, first = min(located, key=lambda pair: pair[0])
        places = {self.dotted(detail["loc"]) for detail in details}
        problem, hint = _explain(first, model)
        more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
        raise self.error(self.dotted(first["loc"], keep_last=first["type"] == "missing"), line, problem + more, hint)

    def error(self, key: str, line: int, problem: str, hint: str = "") -> UsageError:
        """Build the error that names file, line and key."""
        where = f"line {line}" + (f", `{key}`" if key else "")
        return UsageError(f"`{self.path}` is not valid", cause=f"{where}: {problem}", hint=hint)

    def line(self, location: _Location) -> int:
        """Return the line (from 1) of the deepest node that the location reaches."""
        *_, (_, line) = self._walk(location)
        return line

    def dotted(self, location: _Location, *, keep_last: bool = False) -> str:
        """Write a location as `scenarios[0].percentile`, leaving out what the file does not have."""
        parts = [part for part, _ in self._walk(location)][1:]
        if keep_last and len(parts) < len(location):
            parts.append(location[-1])
        return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".")

    def _walk(self, location: _Location) -> Iterable[tuple[int | str, int]]:
        """Yield the parts of the location that exist, with their lines; first the root."""
        node = self.root
        yield "", node.start_mark.line + 1 if node else 1
        for part in location:
            step = _child(node, part)
            if step is None:
                return
            named_at, node = step
            yield part, named_at.start_mark.line + 1


def _child(node: yaml.Node | None, part: int | str) -> tuple[yaml.Node, yaml.Node] | None:
    """Return where a key or index is named and what it holds, or `None` if it is not there."""
    import yaml

    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == str(part):
                return key, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None


def _deepest(details: list[ErrorDetails]) -> list[ErrorDetails]:
    """Leave out the errors that only follow from one further in: "too few items" because one item is wrong."""
    locations = [detail["loc"] for detail in details]
    inner = {location[:end] for location in locations for end in range(len(location))}
    return [detail for detail in details if detail["loc"] not in inner]


def _explain(detail: ErrorDetails, model: type[BaseModel]) -> tuple[str, str]:
    """Put a validation error into words: what is wrong, and a hint."""
    if detail["type"] == "extra_forbidden":
        allowed = _fields_at(model, detail["loc"][:-1])
        wrote = str(detail["loc"][-1])
        guess = closest(wrote, allowed)
        hints = [f"did you mean `{guess}`?"] if guess else []
        return "unknown key", "; ".join([*hints, f"known keys: {', '.join(sorted(allowed))}"])
    if detail["type"] == "missing":
        return "this key is missing", "add it"
    if detail["type"] == "value_error":
        return detail["msg"].removeprefix("Value error, "), ""
    shown = detail["input"]
    saw = f", not `{shown}`" if isinstance(shown, str | int | float | bool) else ""
    return detail["msg"][0].lower() + detail["msg"][1:] + saw, ""


def _fields_at(model: type[BaseModel], location: _Location) -> list[str]:
    """Return the keys that the model allows at a location."""
    for part in location:
        field = model.model_fields.get(str(part))
        nested = _nested_model(field.annotation) if field else None
        model = nested or model
    return list(model.model_fields)


def _nested_model(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and not get_args(annotation) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _nested_model(arg))), None)


@functools.cache
def _loader() -> type[yaml.SafeLoader]:
    import yaml

    class Loader(yaml.SafeLoader):
        """Safe, and without YAML 1.1's surprises."""

        yaml_implicit_resolvers = {
            first: [(tag, pattern) for tag, pattern in pairs if not tag.endswith((":timestamp", ":bool"))]
            for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            """Refuse a key that is written twice."""
            seen: dict[str, int] = {}
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                    if key.value in seen:
                        problem = f"key `{key.value}` is already on line {seen[key.value]}"
                        raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                    seen[key.value] = key.start_mark.line + 1
            return super().construct_mapping(node, deep=deep)

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789"))
    Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
    return Loader


def _read(path: Path) -> _Document:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        loader = _loader()(text)
    except OSError as error:
        raise UsageError(f"`{path}` cannot be read", cause=error.strerror or str(error)) from error
    except (UnicodeDecodeError, yaml.reader.ReaderError) as error:
        raise UsageError(f"`{path}` is not text", cause=str(error).splitlines()[0], hint="save it as UTF-8") from error
    try:
        root = loader.get_single_node()
        data = loader.construct_document(root) if root else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise UsageError(f"`{path}` is not valid YAML", cause=where + (error.problem or str(error))) from error
    except ValueError as error:
        raise UsageError(f"`{path}` is not valid YAML", cause=str(error)) from error
    finally:
        loader.dispose()
    return _Document(path, root, data)


def _find(kind: str, name_or_path: str, names: tuple[str, ...], *, pattern: str) -> Path:
    """Return the file of a name that exists, or of a path that does."""
    if name_or_path in names:
        return data_root() / pattern.format(name_or_path.replace(":", "-"))
    if "/" not in name_or_path and not name_or_path.endswith((".yaml", ".yml")):
        raise unknown(kind, name_or_path, names)
    path = Path(name_or_path).expanduser()
    if path.is_dir() and kind == "workload":
        path = path / "workload.yaml"
    if not path.is_file():
        raise UsageError(f"there is no {kind} file `{path}`", hint=f"{kind}s by name: {', '.join(names)}")
    return path.resolve()


def _stems(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))


def _check_name(document: _Document, name: str, expected: str) -> None:
    if name != expected:
        raise document.error(
            "name", document.line(("name",)), f"`{name}` does not match where it is", f"call it `{expected}`"
        )


def _check_references(document: _Document, suite: SuiteSpec) -> None:
    """Raise if the suite names what is not there: a workload or variant, or an exclusion of what it lacks."""
    for key, chosen, known in (
        ("workload", suite.workloads, workload_names()),
        ("variant", suite.variants, variant_names()),
    ):
        for index, name in enumerate(chosen):
            parts = (name,) if key == "workload" or name in known else name.split("+")
            for part in parts:
                _check_reference(document, (f"{key}s", index), part, known, kind=key)
    scenarios = [scenario.kind.value for scenario in suite.scenarios]
    for index, rule in enumerate(suite.exclude):
        there: dict[str, Sequence[str]] = {
            "workload": suite.workloads,
            "variant": suite.variants,
            "backend": suite.backends,
            "scenario": scenarios,
        }
        for axis, names in rule.axes.items():
            for name in names:
                _check_reference(document, ("exclude", index, axis), name, there[axis], kind=axis)
    for name in suite.latency_targets_s:
        _check_reference(document, ("latency_targets_s", name), name, suite.workloads, kind="workload")


def _check_reference(document: _Document, location: _Location, name: str, known: Sequence[str], *, kind: str) -> None:
    if name not in known:
        problem = unknown(kind, name, known)
        raise document.error(document.dotted(location), document.line(location), problem.message, problem.hint)
