from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from leptonbench import registry as registry_module
from leptonbench.errors import PrerequisiteError, UsageError
from leptonbench.registry import Registry, closest, unknown


def _plugins(monkeypatch: pytest.MonkeyPatch, **points: str) -> None:
    found = EntryPoints(EntryPoint(name, value, "leptonbench.things") for name, value in points.items())
    monkeypatch.setattr(registry_module, "entry_points", lambda *, group: found.select(group=group))


def test_an_entry_is_imported_on_first_use_only() -> None:
    sys.modules.pop("this", None)
    things: Registry[object] = Registry("thing", {"sqrt": "math:sqrt", "never": "this:absent"})
    assert things.names() == ("never", "sqrt")
    assert "this" not in sys.modules
    assert things.get("sqrt")(9) == 3  # type: ignore[operator]
    assert things.get("sqrt") is things.get("sqrt")


def test_a_nested_attribute_is_found() -> None:
    things: Registry[object] = Registry("thing", {"join": "posixpath:os.sep"})
    assert things.get("join") == "/"


def test_a_wrong_name_says_what_is_near_and_what_there_is() -> None:
    things: Registry[object] = Registry("backend", {"onnxruntime": "math:pi", "torch": "math:e"})
    with pytest.raises(UsageError) as caught:
        things.get("onnx-runtime")
    assert caught.value.message == "unknown backend `onnx-runtime`"
    assert caught.value.hint == "did you mean `onnxruntime`?; available: onnxruntime, torch"


def test_a_name_near_nothing_gets_no_guess() -> None:
    assert unknown("suite", "zzz", ["manufacturing"]).hint == "available: manufacturing"
    assert unknown("suite", "zzz", []).hint == "there is no suite at all"


@pytest.mark.parametrize(
    ("wrote", "meant"),
    [
        ("int8static", "int8-static"),
        ("INT8-STATIC", "int8-static"),
        ("fp23", "fp32"),
        ("manufacturng", "manufacturing"),
    ],
)
def test_closest_finds_slips_of_the_hand(wrote: str, meant: str) -> None:
    assert closest(wrote, ["fp32", "bf16", "int8-static", "int8-dynamic", "manufacturing"]) == meant


def test_closest_admits_defeat() -> None:
    assert closest("qqqq", ["fp32"]) == ""
    assert closest("", ["fp32"]) == ""


def test_a_collision_names_both_sides() -> None:
    things: Registry[object] = Registry("backend", {"torch": "one:A"})
    with pytest.raises(UsageError) as caught:
        things.register("torch", "two:B", origin="plugin 1.0")
    assert caught.value.cause == "`one:A` from leptonbench and `two:B` from plugin 1.0"


def test_registering_the_same_thing_twice_is_no_collision() -> None:
    things: Registry[object] = Registry("thing", {"pi": "math:pi"})
    things.register("pi", "math:pi")
    assert things.names() == ("pi",)


def test_it_is_frozen_after_first_use() -> None:
    things: Registry[object] = Registry("thing", {"pi": "math:pi"})
    assert "pi" in things
    with pytest.raises(RuntimeError, match="frozen"):
        things.register("e", "math:e")


def test_a_placeholder_needs_one_colon() -> None:
    with pytest.raises(ValueError, match="module:attribute"):
        Registry("thing", {"pi": "math.pi"})


def test_installed_packages_add_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    _plugins(monkeypatch, tau="math:tau")
    things: Registry[float] = Registry("thing", {"pi": "math:pi"}, group="leptonbench.things")
    assert things.names() == ("pi", "tau")
    assert things.get("tau") == pytest.approx(6.283, abs=1e-3)


def test_a_plugin_that_takes_a_builtin_name_collides(monkeypatch: pytest.MonkeyPatch) -> None:
    _plugins(monkeypatch, pi="math:tau")
    things: Registry[float] = Registry("thing", {"pi": "math:pi"}, group="leptonbench.things")
    for _ in range(2):
        with pytest.raises(UsageError, match="two things are called `pi`"):
            things.names()


def test_a_broken_plugin_harms_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    _plugins(monkeypatch, broken="math:nothing_here")
    things: Registry[float] = Registry("thing", {"pi": "math:pi"}, group="leptonbench.things")
    assert things.get("pi") > 3
    with pytest.raises(PrerequisiteError) as caught:
        things.get("broken")
    assert "nothing_here" in caught.value.cause


def test_a_missing_package_is_a_prerequisite() -> None:
    things: Registry[object] = Registry("backend", {"far": "no_such_package_xyz.sub:Thing"})
    with pytest.raises(PrerequisiteError) as caught:
        things.get("far")
    assert caught.value.exit_code == 4
    assert caught.value.hint == "install the package that provides `no_such_package_xyz`"
