"""A run in TensorBoard: files that follow from the journal, and what its own reader finds."""

import shutil

import pytest
from hand_made import write_run
from logged_runs import BLOCKS, ROOT, STARTED, append, logged, session_groups, sorted_files

import xortune as xt
from xortune.integrations.following import logged as logged_in
from xortune.integrations.tensorboard import FILE, TensorBoard, events_of


def scalars(path):
    """By run and tag the (step, value)s, as TensorBoard's own reader has them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for file in path.rglob(FILE):
        events = EventAccumulator(str(file.parent)).Reload()
        for tag in events.Tags()["scalars"] + events.Tags()["tensors"]:
            if not tag.startswith("_hparams_"):
                values = events.Scalars(tag) if tag in events.Tags()["scalars"] else []
                found[file.parent.name, tag] = [(one.step, one.value) for one in values]
    return found


def test_the_hparams_page_has_a_row_for_each_config(tmp_path):
    run = write_run(tmp_path / "run", BLOCKS, complete=True, **STARTED)
    assert xt.log(run, tensorboard=True) == 2
    folder = run.path / "tensorboard"
    groups = session_groups(folder)
    assert set(groups) == {result.key for result in run.results}
    for result in run.results:
        group = groups[result.key]
        numbers = {metric.name.tag: metric for metric in group.metric_values}
        assert numbers["rate"].value == result.outcome.rate
        assert numbers["k"].training_step == numbers["n"].value == result.outcome.n
        shown = {
            name: value.number_value if value.HasField("number_value") else value.string_value
            for name, value in group.hparams.items()
        }
        shown["zero_grad"] = group.hparams["zero_grad"].bool_value
        assert shown == {k: v for k, v in result.point.items() if v is not None}
        [session] = group.sessions
        assert session.status == 1  # a success
    key = run.results[0].key
    assert scalars(folder)[key, "epochs_to_solve"] == [(2, 100.0), (4, 200.0)]


def test_a_second_call_changes_no_byte_and_more_seeds_are_appended(tmp_path):
    directory = tmp_path / "run"
    write_run(directory, BLOCKS[:2], **STARTED)
    files = sorted_files(directory)
    assert files == {}
    xt.log(directory, tensorboard=tmp_path / "logs")
    before = sorted_files(tmp_path / "logs")
    assert len(before) == 2
    xt.log(str(directory), tensorboard=str(tmp_path / "logs"))
    assert sorted_files(tmp_path / "logs") == before
    append(directory, *BLOCKS[2:])
    xt.log(directory, tensorboard=tmp_path / "logs")
    after = sorted_files(tmp_path / "logs")
    assert set(after) == set(before)
    assert all(after[place].startswith(before[place]) for place in before)
    xt.log(directory, tensorboard=tmp_path / "anew")
    assert list(after.values()) == list(sorted_files(tmp_path / "anew").values())
    assert after != before


def test_a_record_that_was_torn_is_completed_and_a_file_that_is_not_ours_replaced(tmp_path):
    directory = tmp_path / "run"
    write_run(directory, BLOCKS, **STARTED)
    logged_in(directory, [TensorBoard(tmp_path / "logs")])
    whole = sorted_files(tmp_path / "logs")
    for number, file in enumerate(whole):
        file.write_bytes(whole[file][:-7] if number else b"something else")
    logged_in(directory, [TensorBoard(tmp_path / "logs")])
    assert sorted_files(tmp_path / "logs") == whole


def test_a_finished_config_is_closed_with_what_fresh_seeds_say(tmp_path):
    copied = tmp_path / "xor"
    copied.mkdir()
    for name in ("evaluations.jsonl", "manifest.json", "certificate.json", "space.yaml"):
        shutil.copyfile(ROOT / "reports" / "xor" / name, copied / name)
    best = xt.load_run(copied).certificate.best
    [config] = [one for one in logged(copied) if one.key == best.key]
    for closed in (False, True):
        file = tmp_path / str(closed) / best.key / FILE
        file.parent.mkdir(parents=True)
        file.write_bytes(events_of(config, closed=closed))
        found = scalars(tmp_path / str(closed))
        if closed:
            step = config.steps[-1].n
            assert found[best.key, "certified_k"] == [(step, best.k)]
            [(_, bound)] = found[best.key, "certified_lower_bound"]
            assert bound == pytest.approx(best.lower_bound)
        else:
            assert (best.key, "certified_k") not in found
    files = [(tmp_path / str(c) / best.key / FILE).read_bytes() for c in (False, True)]
    assert files[1].startswith(files[0])
