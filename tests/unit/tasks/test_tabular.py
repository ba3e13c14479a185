"""Scoring rows: the way in and out, users' files and models, and what it is trained with."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from leptonbench.catalog import load_workload
from leptonbench.errors import UsageError
from leptonbench.schema import DataSpec
from leptonbench.tasks import TASKS, Split, TaskSetup
from leptonbench.tasks.mlp import MlpConfig, MlpForScoring, load_scorer
from leptonbench.tasks.tabular import CREDIT, TabularTask
from leptonbench.tasks.tabular_features import FILE, Category, Features, Number
from leptonbench.tasks.tabular_lesson import TabularLesson

DATA = DataSpec(seed=5, calibration=32, evaluation=200)
FEATURES = Features(
    numbers=(Number(name="x", mean=1.0, std=2.0), Number(name="y")),
    categories=(Category(name="kind", values=("a", "b, c")),),
)


def _folder(path: Path, features: Features = FEATURES, *, hidden: tuple[int, ...] = (8, 8)) -> Path:
    """Write an untrained model's folder."""
    path.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    model = MlpForScoring(MlpConfig(input_size=features.width, hidden_sizes=list(hidden)))
    (path / "config.json").write_text(json.dumps(model.config.to_diff_dict()), encoding="utf-8")
    (path / FILE).write_text(features.model_dump_json(), encoding="utf-8")
    save_file({name: tensor.half() for name, tensor in model.state_dict().items()}, str(path / "model.safetensors"))
    return path


def _rows(count: int, seed: int = 4) -> list[list[object]]:
    rng = np.random.default_rng(seed)
    labels = rng.random(count) < 0.4
    return [
        [round(float(rng.normal() + label), 4), ("a", "b, c")[int(rng.integers(2))], int(label), float(i)]
        for i, label in enumerate(labels)
    ]


HEADER = ["x", "kind", "label", "y"]


def _csv(path: Path, rows: list[list[object]], header: list[str] = HEADER) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def _task(tmp_path: Path, rows: list[list[object]], header: list[str] = HEADER) -> TabularTask:
    folder = _folder(tmp_path / "model")
    return TabularTask(TaskSetup(model_dir=folder, data=DATA, own=_csv(tmp_path / "rows.csv", rows, header)))


def test_it_is_registered_and_needs_no_torch_to_score() -> None:
    code = (
        "import sys; from leptonbench.tasks import TASKS; TASKS.get('tabular');"
        "print('torch' in sys.modules, 'sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
    assert TASKS.get("tabular") is TabularTask


class TestOwnData:
    def test_splits_have_the_stated_sizes_and_share_no_row(self) -> None:
        task = TabularTask(TaskSetup(model_dir=None, data=DATA))
        calibration, evaluation = task.samples(Split.CALIBRATION), task.samples(Split.EVALUATION)
        assert (len(calibration), len(evaluation)) == (32, 200)
        seen = [tuple(s.raw(i).values()) for s in (calibration, evaluation) for i in range(len(s))]
        assert len(set(seen)) == len(seen)
        assert calibration.identity != evaluation.identity
        assert task.samples(Split.EVALUATION) is evaluation
        assert {evaluation.target(i) for i in range(200)} == {0, 1}
        assert evaluation.duration_s(0) is None

    def test_without_a_model_rows_are_given_as_they_are(self) -> None:
        task = TabularTask(TaskSetup(model_dir=None, data=DATA))
        row = task.samples(Split.EVALUATION).raw(0)
        encoded = task.encode(row)["features"]
        assert encoded.shape == (1, len(row)) == (1, CREDIT.width)
        np.testing.assert_allclose(encoded[0, : len(CREDIT.numbers)], list(row.values())[: len(CREDIT.numbers)])

    def test_columns_come_in_the_models_order(self, tmp_path: Path) -> None:
        order = Features(numbers=(CREDIT.numbers[3], CREDIT.numbers[0]), categories=(CREDIT.categories[1],))
        task = TabularTask(TaskSetup(model_dir=_folder(tmp_path, order), data=DATA))
        plain = TabularTask(TaskSetup(model_dir=None, data=DATA)).samples(Split.EVALUATION).raw(7)
        row = task.samples(Split.EVALUATION).raw(7)
        assert list(row) == list(order.names)
        assert all(row[name] == plain[name] for name in order.names)

    def test_a_model_of_other_features_is_refused(self, tmp_path: Path) -> None:
        task = TabularTask(TaskSetup(model_dir=_folder(tmp_path), data=DATA))
        with pytest.raises(UsageError, match="a feature `x` that the workload's own data has not") as caught:
            task.samples(Split.EVALUATION)
        assert "--data" in caught.value.hint


class TestOutputs:
    task = TabularTask(TaskSetup(model_dir=None, data=DATA))

    def test_a_logit_becomes_a_probability(self) -> None:
        answers = self.task.decode([np.array([[0.0], [2.0], [-1000.0]], dtype=np.float32)])
        assert answers == [0.5, round(1 / (1 + np.exp(-2)), 6), 0.0]
        json.dumps(answers)

    def test_two_columns_are_read_as_the_second_against_the_first(self) -> None:
        logits = np.array([[0.3, 1.3], [2.0, -1.0]], dtype=np.float32)
        softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(self.task.decode([logits]), softmax[:, 1], atol=1e-6)
        labels = np.array([1, 0])
        assert self.task.decode([labels, logits]) == self.task.decode([logits])

    def test_probabilities_in_two_columns_keep_their_order(self) -> None:
        chances = np.linspace(0.01, 0.99, 20)
        answers = self.task.decode([np.stack([1 - chances, chances], axis=1)])
        assert answers == sorted(answers) and len(set(answers)) == 20

    @pytest.mark.parametrize("shapes", [[(None,)], [(None, 1)], [(1, 2)], [(None,), (None, 2)], [(None, None)]])
    def test_outputs_with_a_score_a_row_are_taken(self, shapes: list[tuple[int | None, ...]]) -> None:
        self.task.check_outputs(shapes)

    @pytest.mark.parametrize("shapes", [[], [(None, 3)], [(None, 4, 4)], [()]])
    def test_outputs_without_one_are_refused(self, shapes: list[tuple[int | None, ...]]) -> None:
        with pytest.raises(UsageError, match="no score a row") as caught:
            self.task.check_outputs(shapes)
        assert "[batch, 2]" in caught.value.hint


class TestOwnFile:
    def test_a_fifth_calibrates_and_the_rest_evaluates(self, tmp_path: Path) -> None:
        task = _task(tmp_path, _rows(100))
        calibration, evaluation = task.samples(Split.CALIBRATION), task.samples(Split.EVALUATION)
        assert (len(calibration), len(evaluation)) == (20, 80)
        places = [s.raw(i)["y"] for s in (calibration, evaluation) for i in range(len(s))]
        assert sorted(places) == [float(i) for i in range(100)]

    def test_values_keep_their_columns(self, tmp_path: Path) -> None:
        rows = _rows(60)
        evaluation = _task(tmp_path, rows).samples(Split.EVALUATION)
        for index in range(len(evaluation)):
            x, kind, label, y = rows[int(evaluation.raw(index)["y"])]
            assert evaluation.raw(index) == {"x": x, "y": y, "kind": kind}
            assert evaluation.target(index) == label

    def test_equal_rows_stay_together(self, tmp_path: Path) -> None:
        task = _task(tmp_path, [[row[0], row[1], row[2], 0.0] for row in _rows(40)] * 3)
        sides = [task.samples(split) for split in (Split.CALIBRATION, Split.EVALUATION)]
        seen = [{tuple(side.raw(i).values()) for i in range(len(side))} for side in sides]
        assert not seen[0] & seen[1]

    def test_a_row_added_moves_no_others_order(self, tmp_path: Path) -> None:
        before = _task(tmp_path / "a", _rows(50)).samples(Split.EVALUATION)
        after = _task(tmp_path / "b", [*_rows(50), [9.0, "a", 1, 50.0]]).samples(Split.EVALUATION)
        orders = [[s.raw(i)["y"] for i in range(len(s)) if s.raw(i)["y"] != 50.0] for s in (before, after)]
        assert orders[0][-30:] == orders[1][-30:]
        assert before.identity != after.identity

    def test_it_is_limited_to_the_stated_sizes(self, tmp_path: Path) -> None:
        task = _task(tmp_path, _rows(400))
        assert (len(task.samples(Split.CALIBRATION)), len(task.samples(Split.EVALUATION))) == (32, 200)

    def test_it_has_no_training_split(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="calibration split"):
            _task(tmp_path, _rows(50)).samples(Split.TRAIN)

    def test_without_a_model_every_column_is_a_number(self, tmp_path: Path) -> None:
        rows = [[row[3], row[0], row[2]] for row in _rows(50)]
        path = _csv(tmp_path / "rows.csv", rows, ["b", "a", "label"])
        task = TabularTask(TaskSetup(model_dir=None, data=DATA, own=path))
        row = task.samples(Split.EVALUATION).raw(3)
        assert list(row) == ["b", "a"]
        np.testing.assert_allclose(task.encode(row)["features"], [[row["b"], row["a"]]])

    @pytest.mark.parametrize(
        ("header", "row", "message", "cause", "hint"),
        [
            (["x", "kind", "label"], None, "has no column `y`", "its columns are x, kind, label", "and `label`"),
            (["x", "kind", "y", "z"], None, "has no column `label`", "", "names every feature"),
            ([*HEADER, "id"], None, "column `id` that the model does not take", "", "the model takes x, y, kind"),
            (["x", "x", "kind", "label", "y"], None, "has twice the column `x`", "", ""),
            (HEADER, ["", "a", 1, 2.0], "is not valid", "line 42: `x` is empty, not a number", "fill in"),
            (HEADER, ["12,5", "a", 1, 2.0], "is not valid", "line 42: `x` is `12,5`, not a number", "leave the row"),
            (HEADER, ["nan", "a", 1, 2.0], "is not valid", "line 42: `x` is `nan`, not a number", ""),
            (HEADER, [1.0, "z", 1, 2.0], "is not valid", "line 42: `z` is no value of `kind`", "a, b, c"),
            (HEADER, [1.0, "a", 2, 2.0], "is not valid", "line 42: `label` is `2`", "it is 0 or 1"),
            (HEADER, [1.0, "a", "yes", 2.0], "is not valid", "line 42: `label` is `yes`", ""),
            (HEADER, [1.0, "a", 1], "is not valid", "line 42: 3 values, 4 columns", "quote"),
        ],
    )
    def test_what_is_wrong_is_told_by_line_and_column(
        self, tmp_path: Path, header: list[str], row: list[object] | None, message: str, cause: str, hint: str
    ) -> None:
        rows = _rows(40)
        task = _task(tmp_path, [*rows, row] if row else rows, header)
        with pytest.raises(UsageError) as caught:
            task.samples(Split.EVALUATION)
        assert message in caught.value.message and str(tmp_path / "rows.csv") in caught.value.message
        assert cause in caught.value.cause and hint in caught.value.hint

    @pytest.mark.parametrize("label", [0, 1])
    def test_one_class_alone_is_refused(self, tmp_path: Path, label: int) -> None:
        task = _task(tmp_path, [[row[0], row[1], label, row[3]] for row in _rows(40)])
        with pytest.raises(UsageError, match="of one class") as caught:
            task.samples(Split.EVALUATION)
        assert f"{32 * label} have label 1" in caught.value.cause

    @pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"", b'x,label\n"1,0\n', b"label\n1\n0\n"])
    def test_what_is_no_table_is_refused(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "rows.csv"
        path.write_bytes(content)
        with pytest.raises(UsageError) as caught:
            TabularTask(TaskSetup(model_dir=None, data=DATA, own=path)).samples(Split.EVALUATION)
        assert str(path) in caught.value.message and caught.value.hint

    def test_a_folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="is not a file"):
            TabularTask(TaskSetup(model_dir=None, data=DATA, own=tmp_path)).samples(Split.EVALUATION)


class TestNetwork:
    def test_a_folder_is_loaded_in_single_precision(self, tmp_path: Path) -> None:
        network = load_scorer(_folder(tmp_path))
        assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
        assert not network.training and not any(p.requires_grad for p in network.parameters())
        outputs = network(features=torch.zeros(3, FEATURES.width))
        assert [tuple(output.shape) for output in outputs] == [(3, 1)] and network.output_names == ("logits",)

    def test_its_weights_are_those_that_were_saved(self, tmp_path: Path) -> None:
        from safetensors.torch import load_file

        network = load_scorer(_folder(tmp_path))
        stored = load_file(tmp_path / "model.safetensors")
        for name, tensor in network.model.state_dict().items():
            torch.testing.assert_close(tensor, stored[name].float(), rtol=0, atol=0)

    def test_without_weights_it_is_built_from_the_config_alone(self, tmp_path: Path) -> None:
        folder = _folder(tmp_path)
        (folder / "model.safetensors").unlink()
        network = load_scorer(folder, weights=False)
        assert network(features=torch.zeros(2, FEATURES.width))[0].shape == (2, 1)
        with pytest.raises(UsageError, match="cannot load the model"):
            load_scorer(folder)

    def test_half_the_widths_make_a_student(self, tmp_path: Path) -> None:
        student = load_scorer(_folder(tmp_path, hidden=(4, 4)), weights=False)
        assert [m.out_features for m in student.modules() if isinstance(m, torch.nn.Linear)] == [4, 4, 1]

    def test_weights_of_another_width_are_refused(self, tmp_path: Path) -> None:
        folder = _folder(tmp_path)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"hidden_sizes": [8, 6]}))
        with pytest.raises(UsageError, match="cannot load the model") as caught:
            load_scorer(folder)
        assert caught.value.cause and caught.value.hint

    def test_a_missing_weight_is_refused_and_not_made_up(self, tmp_path: Path) -> None:
        from safetensors.torch import load_file

        folder = _folder(tmp_path)
        state = load_file(folder / "model.safetensors")
        state.pop("layers.3.weight")
        save_file(state, str(folder / "model.safetensors"))
        with pytest.raises(UsageError) as caught:
            load_scorer(folder)
        assert "layers.3.weight" in caught.value.cause

    def test_another_kind_of_model_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text('{"model_type": "resnet"}')
        with pytest.raises(UsageError, match="is no model that scores rows") as caught:
            load_scorer(tmp_path)
        assert "resnet" in caught.value.cause

    def test_a_model_that_does_not_fit_its_own_features_is_refused(self, tmp_path: Path) -> None:
        folder = _folder(tmp_path)
        fewer = Features(numbers=FEATURES.numbers)
        (folder / FILE).write_text(fewer.model_dump_json(), encoding="utf-8")
        with pytest.raises(UsageError, match="of another width") as caught:
            TabularTask(TaskSetup(model_dir=folder, data=DATA)).load_network(folder)
        assert "its config says 4" in caught.value.cause and "become 2" in caught.value.cause


class TestLesson:
    def test_every_row_is_seen_before_any_comes_again(self) -> None:
        features = np.arange(1200, dtype=np.float32).reshape(-1, 1)
        batches = TabularLesson(features, np.zeros(1200, dtype=np.int64)).batches(3)
        first = torch.cat([next(batches).inputs["features"].flatten() for _ in range(2)])
        assert len(set(first.tolist())) == 1024
        again = TabularLesson(features, np.zeros(1200, dtype=np.int64)).batches(3)
        torch.testing.assert_close(next(again).inputs["features"].flatten(), first[:512])

    def test_few_rows_make_whole_batches(self) -> None:
        lesson = TabularLesson(np.zeros((7, 2), dtype=np.float32), np.ones(7, dtype=np.int64))
        assert next(lesson.batches(0)).inputs["features"].shape == (7, 2)

    def test_losses_fall_where_they_should(self) -> None:
        lesson = TabularLesson(np.zeros((2, 1), dtype=np.float32), np.array([1, 1]))
        batch = next(lesson.batches(0))
        good, bad = (torch.tensor([[3.0], [3.0]]) * sign for sign in (1, -1))
        assert lesson.loss((good,), batch) < lesson.loss((bad,), batch)

    def test_the_distance_is_the_divergence_of_two_chances(self) -> None:
        lesson = TabularLesson(np.zeros((1, 1), dtype=np.float32), np.array([1]))
        mine, theirs, temperature = torch.tensor([[0.4], [-2.0]]), torch.tensor([[1.5], [0.3]]), 3.0
        p, q = (torch.sigmoid(logits / temperature) for logits in (theirs, mine))
        by_hand = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean() * temperature**2
        torch.testing.assert_close(lesson.distance((mine,), (theirs,), temperature=temperature), by_hand)
        assert lesson.distance((mine,), (mine,), temperature=temperature).abs() < 1e-6

    def test_a_users_file_teaches_by_its_calibration_part_alone(self, tmp_path: Path) -> None:
        task = _task(tmp_path, _rows(400))
        batch = next(task.lesson(Split.CALIBRATION).batches(0))
        assert len(batch.targets["labels"]) == 80  # a fifth, more than calibrates
        evaluated = {float(task.encode(task.samples(Split.EVALUATION).raw(i))["features"][0, 1]) for i in range(200)}
        assert not evaluated & set(batch.inputs["features"][:, 1].tolist())


class TestShipped:
    """The workload's own model."""

    def test_it_is_as_good_as_its_card_says_and_near_the_bound(self) -> None:
        spec, folder = load_workload("credit-scoring")
        task = TabularTask(TaskSetup(model_dir=folder / spec.model, data=spec.data))
        rows = task.samples(Split.EVALUATION)
        network = task.load_network(folder / spec.model)
        features = np.concatenate([task.encode(rows.raw(i))["features"] for i in range(len(rows))])
        with torch.no_grad():
            answers = task.decode([network(features=torch.from_numpy(features))[0].numpy()])
        found = task.metric.quality(answers, [rows.target(i) for i in range(len(rows))])
        assert found.value > spec.quality.floor + 0.01
        card = (folder / spec.model / "README.md").read_text(encoding="utf-8")
        assert f"AUC {found.value:.4f}" in card

    def test_it_is_small(self) -> None:
        _, folder = load_workload("credit-scoring")
        assert (folder / "model" / "model.safetensors").stat().st_size < 3e6
