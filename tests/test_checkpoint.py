"""What stands in a run's directory: whole or not at all, checked when read, the two last states kept."""

import json
import os
import re
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from i2i.checkpoint import Run, find_model, load_model, newest_run, save_model, unfinished_run
from i2i.errors import DataError, ResourceError, UnsafeFileError, UsageError
from i2i.files import write_json, writing


@pytest.fixture
def one(tmp_path: Path) -> Run:
    run = Run.create(tmp_path / "runs", "day2night")
    run.start(b"task = 'x'\r\n# kept\n", {"task": {"name": "x"}, "overrides": ["a=1"]})
    return run


def state(value: float) -> dict[str, torch.Tensor]:
    return {"method/g.weight": torch.full((2, 3), value), "optimizer/g/0/step": torch.tensor(value)}


def found(run: Run, step: int) -> Path:
    (path,) = (run.path / "state").glob(f"{step:09d}-*.safetensors")
    return path


def test_names_never_repeat(tmp_path: Path) -> None:
    runs = {Run.create(tmp_path, "x").path for _ in range(5)}
    assert len(runs) == 5


def test_the_recipe_is_kept_byte_for_byte(one: Run) -> None:
    assert one.recipe.read_bytes() == b"task = 'x'\r\n# kept\n"
    assert one.resolved()["overrides"] == ["a=1"]


def test_the_newest_state_comes_back_and_two_are_kept(one: Run) -> None:
    for step in (10, 20, 30):
        one.save_state(step, state(step))
    step, tensors, warnings = one.load_state()
    assert (step, warnings) == (30, [])
    assert torch.equal(tensors["method/g.weight"], torch.full((2, 3), 30.0))
    names = sorted(path.name for path in (one.path / "state").iterdir())
    assert [re.fullmatch(r"(\d{9})-[0-9a-f]{64}\.safetensors", name)[1] for name in names] == ["000000020", "000000030"]


def test_a_state_of_a_later_step_is_one_that_could_not_be_read(one: Run) -> None:
    for step in (10, 20, 15):
        one.save_state(step, state(step))
    assert [path.name[:9] for path in sorted((one.path / "state").iterdir())] == ["000000010", "000000015"]


def test_a_state_without_its_checksum_is_not_taken(one: Run) -> None:
    for step in (10, 20):
        one.save_state(step, state(step))
    found(one, 20).rename(one.path / "state" / "000000020.safetensors")
    assert one.load_state()[0] == 10


def test_the_halves_of_a_killed_process_are_swept(one: Run) -> None:
    for name in ("state/.000000020.7.part", "model/.model.safetensors.7.part", ".log.jsonl.7.part"):
        (one.path / name).parent.mkdir(exist_ok=True)
        (one.path / name).write_text("half")
    one.sweep()
    assert not list(one.path.rglob("*.part"))
    assert one.recipe.exists()


def test_saving_a_step_again_keeps_the_other(one: Run) -> None:
    for step in (10, 20, 20):
        one.save_state(step, state(step))
    found(one, 20).unlink()
    assert one.load_state()[0] == 10


@pytest.mark.parametrize("harm", ["flip", "truncate", "empty"])
def test_a_damaged_state_falls_back_and_says_so(one: Run, harm: str) -> None:
    one.save_state(10, state(10))
    one.save_state(20, state(20))
    path = found(one, 20)
    data = bytearray(path.read_bytes())
    if harm == "flip":
        data[-3] ^= 1  # in a number: safetensors alone would load it in silence
        path.write_bytes(data)
    else:
        path.write_bytes(data[: len(data) // 2 if harm == "truncate" else 0])
    step, tensors, warnings = one.load_state()
    assert step == 10
    assert tensors["optimizer/g/0/step"] == 10
    assert len(warnings) == 1
    assert path.name in warnings[0]


def test_no_whole_state_is_an_error(one: Run) -> None:
    with pytest.raises(DataError, match="no whole training state"):
        one.load_state()


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"old": 1})

    def fail(error: Exception) -> None:
        with writing(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(RuntimeError):
        fail(RuntimeError())
    with pytest.raises(ResourceError, match="cannot be written: No space left"):
        fail(OSError(28, "No space left on device"))
    assert json.loads(path.read_text()) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_a_full_disk_is_known_for_one_from_what_safetensors_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("i2i.checkpoint.save_file", full)
    with pytest.raises(ResourceError, match=r"os error 28\)\. Free some space, or choose another folder"):
        save_model(tmp_path, {}, {"x": torch.zeros(1)})
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file"):
        Run.create(tmp_path / "file", "x")


def test_the_log_survives_a_torn_line_and_a_resume(one: Run) -> None:
    for step in (1, 2, 3):
        one.append_log({"step": step, "g/l1": 0.5})
    with one.log.open("a") as file:
        file.write('{"step": 4, "g')
    assert [entry["step"] for entry in one.read_log()] == [1, 2, 3]
    one.cut_log(2)
    assert [entry["step"] for entry in one.read_log()] == [1, 2]


def test_a_model_folder_is_checked_when_read(tmp_path: Path) -> None:
    save_model(tmp_path / "model", {"task": {"name": "paired"}}, {"w": torch.ones(3)})
    description, weights = load_model(tmp_path / "model")
    assert description["task"] == {"name": "paired"}
    assert weights["w"].tolist() == [1, 1, 1]
    path = tmp_path / "model" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 64
    path.write_bytes(data)
    with pytest.raises(UnsafeFileError, match="is damaged: its sha256"):
        load_model(tmp_path / "model")
    (tmp_path / "model" / "model.json").write_text("{")
    with pytest.raises(UnsafeFileError, match=r"model.json: is damaged"):
        load_model(tmp_path / "model")


def test_a_model_stays_whole_between_its_description_and_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tmp_path, {"step": 1}, {"w": torch.ones(3)})
    replace = os.replace

    def killed(source: Path, target: Path) -> None:
        if target.name == "model.safetensors":
            raise KeyboardInterrupt
        replace(source, target)

    for step in (2, 3):
        monkeypatch.setattr("os.replace", killed)
        with pytest.raises(KeyboardInterrupt):
            save_model(tmp_path, {"step": step}, {"w": torch.full((3,), float(step))})
        description, weights = load_model(tmp_path)
        assert (description["step"], weights["w"].tolist()) == (step, [1, 1, 1])
    monkeypatch.undo()
    save_model(tmp_path, {"step": 4}, {"w": torch.zeros(3)})
    assert load_model(tmp_path)[1]["w"].tolist() == [0, 0, 0]


def test_the_unfinished_run_that_was_worked_on_last_is_found(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run in it to go on with: there is none"):
        unfinished_run(tmp_path)
    first, second, third = (Run.create(tmp_path, name) for name in "cab")
    (tmp_path / "killed-before-its-recipe").mkdir()
    for when, run in enumerate((first, second, third), 100):
        run.start(b"", {})
        run.append_log({"step": 1})
        os.utime(run.log, (when, when))
    write_json(third.path / "result.json", {})
    assert unfinished_run(tmp_path) == second
    for run in (first, second):
        write_json(run.path / "result.json", {})
    with pytest.raises(UsageError, match="all have finished"):
        unfinished_run(tmp_path)


def test_a_pickle_named_safetensors_is_refused(tmp_path: Path) -> None:
    save_model(tmp_path, {}, {"w": torch.ones(3)})
    torch.save({"w": torch.ones(3)}, tmp_path / "model.safetensors")
    description = json.loads((tmp_path / "model.json").read_text())
    del description["sha256"]
    (tmp_path / "model.json").write_text(json.dumps(description))
    with pytest.raises(UnsafeFileError, match="not a readable safetensors file"):
        load_model(tmp_path)


def test_the_newest_finished_run_is_found(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no finished run"):
        newest_run(tmp_path)
    first, second, third = (Run.create(tmp_path, name) for name in ("b", "a", "c"))
    for run in (first, second, third):
        run.start(b"", {})
    with pytest.raises(UsageError, match=r"has not finished: i2i train --resume"):
        newest_run(tmp_path)
    for run, when in ((first, 100), (second, 200)):
        write_json(run.path / "result.json", {})
        os.utime(run.path / "result.json", (when, when))
    assert newest_run(tmp_path) == second


def test_what_is_no_model_is_named_with_the_nearest(tmp_path: Path) -> None:
    save_model(tmp_path / "day" / "model", {}, {})
    assert find_model(tmp_path / "day") == tmp_path / "day" / "model"
    assert find_model(tmp_path / "day" / "model") == tmp_path / "day" / "model"
    with pytest.raises(UsageError, match=r"neither a run nor a model folder. Did you mean 'day'\?"):
        find_model(tmp_path / "dayy")


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ResourceError, match="cannot be written"):
        write_json(tmp_path / "file" / "x.json", {})
