"""What is written appears whole or not at all, and nothing of the user's is lost."""

import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from riskmodel.catalogue import load_catalogue
from riskmodel.cohort.features import build_features
from riskmodel.errors import IntegrityError, NotFound, UsageError, refused_by_disk
from riskmodel.months import month_number
from riskmodel.register import Register, checked_target, commit_directory, commit_file, read_manifest, verify
from riskmodel.register import commit as commit_module
from tests.cohort.registers import make_register, monthly

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the kill tests need os.fork")


def result(version: int):
    """Writes a result of several files in which every file says the same version."""

    def write(stage: Path) -> None:
        (stage / "part").mkdir()
        for number in range(4):
            (stage / "part" / f"{number}.csv").write_text(f"version\n{version}\n")
        pq.write_table(pa.table({"version": [version] * 10}), stage / "rows.parquet")
        (stage / "list.json").write_text(json.dumps([version, version]))
        (stage / "note.txt").write_text(str(version))

    return write


def version_of(target: Path) -> int:
    """The version of a result; fails unless it is complete and of one piece."""
    manifest = verify(target)
    versions = {(target / f"part/{number}.csv").read_text().split()[1] for number in range(4)}
    versions |= {(target / "note.txt").read_text(), str(manifest["about"]["version"])}
    assert len(versions) == 1
    return int(versions.pop())


def commit(target: Path, version: int) -> dict:
    return commit_directory(target, result(version), kind="scores", about={"version": version})


def leftovers(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if ".staging-" in p.name or ".previous-" in p.name]


def test_a_register_is_not_replaced_by_results_that_are_sent_to_its_folder(tmp_path):
    commit(tmp_path / "out", 1)
    with pytest.raises(UsageError, match="it holds 'scores', which 'sheets' would replace"):
        commit_directory(tmp_path / "out", result(2), kind="sheets", about={})
    assert version_of(tmp_path / "out") == 1 and not leftovers(tmp_path)
    commit(tmp_path / "out", 2)
    assert version_of(tmp_path / "out") == 2


@pytest.mark.parametrize("content", ["", "[]", '{"kind": "scores"}', '{"kind": "scores", "files": {}}'])
def test_a_manifest_that_lacks_what_every_one_has_is_told(tmp_path, content):
    commit(tmp_path / "out", 1)
    (tmp_path / "out" / "manifest.json").write_text(content)
    with pytest.raises(IntegrityError, match="not readable"):
        read_manifest(tmp_path / "out", kind="scores")


def test_the_manifest_counts_and_hashes(tmp_path):
    manifest = commit(tmp_path / "out", 1)
    rows = {name: facts["rows"] for name, facts in manifest["files"].items()}
    assert rows == {
        "list.json": 2,
        "note.txt": None,
        "part/0.csv": 1,
        "part/1.csv": 1,
        "part/2.csv": 1,
        "part/3.csv": 1,
        "rows.parquet": 10,
    }
    assert read_manifest(tmp_path / "out", kind="scores") == manifest
    assert leftovers(tmp_path) == []


def test_a_second_result_replaces_the_first(tmp_path):
    commit(tmp_path / "deep" / "out", 1)
    (tmp_path / "deep" / "out" / "part" / "extra.csv").write_text("mine")
    commit(tmp_path / "deep" / "out", 2)
    assert version_of(tmp_path / "deep" / "out") == 2
    assert leftovers(tmp_path / "deep") == []


@pytest.mark.parametrize("atomic", [True, False], ids=["exchange", "two renames"])
def test_files_of_the_user_are_carried_over(tmp_path, monkeypatch, atomic):
    if not atomic:
        monkeypatch.setattr(commit_module, "exchange", lambda one, other: False)
    out = tmp_path / "out"
    commit(out, 1)
    (out / "minutes").mkdir()
    (out / "minutes" / "meeting.txt").write_text("signed")
    os.symlink("minutes/meeting.txt", out / "link.txt")
    commit(out, 2)
    commit(out, 3)
    assert version_of(out) == 3
    assert (out / "minutes" / "meeting.txt").read_text() == "signed"
    assert (out / "link.txt").is_symlink() and (out / "link.txt").read_text() == "signed"
    assert leftovers(tmp_path) == []


def test_files_are_copied_where_links_are_impossible(tmp_path, monkeypatch):
    commit(tmp_path / "out", 1)
    (tmp_path / "out" / "mine.txt").write_text("kept")

    def refuse(*paths):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    commit(tmp_path / "out", 2)
    assert (tmp_path / "out" / "mine.txt").read_text() == "kept"


def test_a_file_of_the_user_is_never_replaced(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "note.txt").write_text("my own note")
    with pytest.raises(UsageError, match=r"note\.txt"):
        commit(tmp_path / "out", 1)
    assert (tmp_path / "out" / "note.txt").read_text() == "my own note"
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["note.txt"]


def test_a_folder_with_very_many_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(commit_module, "_MOST_FOREIGN_FILES", 3)
    (tmp_path / "out").mkdir()
    for number in range(4):
        (tmp_path / "out" / f"{number}.jpg").touch()
    with pytest.raises(UsageError, match="files that are not results"):
        commit(tmp_path / "out", 1)


def test_the_working_directory_a_parent_of_it_and_a_file_are_refused(tmp_path, monkeypatch):
    (tmp_path / "here" / "below").mkdir(parents=True)
    (tmp_path / "file").write_text("x")
    monkeypatch.chdir(tmp_path / "here" / "below")
    for target in (Path("."), tmp_path / "here" / "below", tmp_path / "here", tmp_path / "file"):
        with pytest.raises(UsageError):
            commit(target, 1)
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
def test_a_place_where_no_folder_can_be_made_is_told_before_anything_is_computed(tmp_path):
    for place in ("/proc/x", "/proc/x/y"):
        with pytest.raises(UsageError, match="/proc: no folder can be made there"):
            checked_target(place, "study")
        with pytest.raises(UsageError, match="/proc: no folder can be made there"):
            commit_file(Path(place), b"")
    with pytest.raises(OSError) as too_long:
        checked_target(tmp_path / ("a" * 240), "study")
    assert refused_by_disk(too_long.value) is too_long.value
    (tmp_path / ".r.staging-999999999-dead").mkdir()
    assert checked_target(tmp_path / "r", "study") == tmp_path / "r"
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_fails_leaves_the_old_result_and_nothing_else(tmp_path):
    commit(tmp_path / "out", 1)

    def fails(stage):
        (stage / "half.csv").write_text("a,b\n1")
        raise ValueError("no more paper")

    for target in ("out", "new/deep/out"):
        with pytest.raises(ValueError, match="no more paper"):
            commit_directory(tmp_path / target, fails, kind="scores", about={})
    assert version_of(tmp_path / "out") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_file_that_cannot_be_opened_again_is_not_published(tmp_path):
    def truncates(stage):
        pq.write_table(pa.table({"x": [1, 2, 3]}), stage / "x.parquet")
        whole = (stage / "x.parquet").read_bytes()
        (stage / "x.parquet").write_bytes(whole[:-20])

    with pytest.raises(IntegrityError, match=r"x\.parquet"):
        commit_directory(tmp_path / "out", truncates, kind="scores", about={})
    assert not (tmp_path / "out").exists()


def test_verify_names_the_file_that_changed_or_is_gone(tmp_path):
    commit(tmp_path / "out", 1)
    (tmp_path / "out" / "part" / "2.csv").write_text("version\n7\n")
    with pytest.raises(IntegrityError, match=r"part/2\.csv: the file has changed"):
        verify(tmp_path / "out")
    (tmp_path / "out" / "list.json").unlink()
    with pytest.raises(IntegrityError, match=r"list\.json: the file is gone"):
        verify(tmp_path / "out")


def test_what_is_not_there_or_of_another_kind_is_not_found(tmp_path):
    with pytest.raises(NotFound, match="no such directory"):
        read_manifest(tmp_path / "nowhere")
    with pytest.raises(NotFound, match=r"holds no manifest\.json"):
        Register.open(tmp_path)
    commit(tmp_path / "out", 1)
    with pytest.raises(NotFound, match="'scores', not 'register'"):
        Register.open(tmp_path / "out")
    (tmp_path / "out" / "manifest.json").write_text("{")
    with pytest.raises(IntegrityError, match="not readable"):
        read_manifest(tmp_path / "out")


def test_commit_file_replaces_a_whole_file(tmp_path):
    commit_file(tmp_path / "new" / "a.txt", b"one")
    commit_file(tmp_path / "new" / "a.txt", b"two")
    assert (tmp_path / "new" / "a.txt").read_bytes() == b"two"
    assert leftovers(tmp_path / "new") == []
    with pytest.raises(UsageError):
        commit_file(tmp_path / "new", b"x")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has none")
def test_a_device_or_a_pipe_is_not_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "card.html")
    with pytest.raises(UsageError, match="a device or a pipe"):
        commit_file(tmp_path / "card.html", b"x")
    assert (tmp_path / "card.html").is_fifo()


# --- killed jobs

CALLS = ("fsync", "rename", "replace", "link", "mkdir", "rmdir", "unlink")


def commit_and_die(target: Path, version: int, at_call: int, atomic: bool) -> None:
    """Child process: commit, and be killed in front of the n-th call that touches the disk."""
    count = 0

    def counted(function):
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            if count == at_call:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return call

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    commit_module.exchange = counted(commit_module.exchange) if atomic else lambda one, other: False
    commit(target, version)


def run_child(function, *args) -> int:
    child = multiprocessing.get_context("fork").Process(target=function, args=args)
    child.start()
    child.join()
    return child.exitcode


@needs_fork
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("atomic", [True, False], ids=["exchange", "two renames"])
def test_a_job_killed_at_any_step_leaves_the_old_result_or_the_new_one(tmp_path, atomic):
    out = tmp_path / "out"
    commit(out, 0)
    (out / "mine.txt").write_text("kept")
    seen = set()
    for step in range(1, 200):
        before = version_of(out)
        exit_code = run_child(commit_and_die, out, before + 1, step, atomic)
        read_manifest(out)  # what any reader does first: it recovers a name lost between two renames
        after = version_of(out)
        assert after in (before, before + 1)
        assert (out / "mine.txt").read_text() == "kept"
        seen.add(after - before)
        if exit_code == 0:
            break
        assert exit_code == -signal.SIGKILL
    assert exit_code == 0 and step > 20
    assert seen == {0, 1}
    commit(out, 1000)
    assert version_of(out) == 1000
    assert leftovers(tmp_path) == []


def commit_again_and_again(target: Path) -> None:
    version = read_manifest(target)["about"]["version"]
    while True:
        version += 1
        commit(target, version)


@needs_fork
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_job_killed_at_a_random_moment_leaves_a_whole_result(tmp_path):
    out = tmp_path / "out"
    commit(out, 0)
    chance = random.Random(7)
    for times in range(120):
        if times >= 12 and version_of(out) > 0:  # on a busy machine a job may be killed before its first result
            break
        child = multiprocessing.get_context("fork").Process(target=commit_again_and_again, args=(out,))
        child.start()
        time.sleep(chance.uniform(0.02, 0.12))
        child.kill()
        child.join()
        version_of(out)
    assert version_of(out) > 0
    commit(out, 0)
    assert leftovers(tmp_path) == []


def test_the_stage_of_a_living_job_is_left_alone(tmp_path):
    stages = []

    def second(stage):
        stages.append(stage)
        commit(tmp_path / "out", 2)
        assert stage.is_dir()
        (stage / "note.txt").write_text("first")

    commit_directory(tmp_path / "out", second, kind="scores", about={})
    assert (tmp_path / "out" / "note.txt").read_text() == "first"
    assert not stages[0].exists()


def test_register_reads_by_county(tmp_path):
    from riskmodel.register import ingest

    records = pd.DataFrame(
        {
            "household_id": ["01", "02", "03"],
            "month": ["2023-01"] * 3,
            "welfare": [9000.0, 8000.0, None],
            "county_id": ["甲县", "a/b", "甲县"],
            "food_ok": ["是", None, "否"],
            "hh_size": [3, None, 1],
        }
    )
    ingest({"source": "t", "tables": {"records": {}}}, records, tmp_path / "r")
    register = Register.open(tmp_path / "r")
    assert register.counties == ["a/b", "甲县"]
    assert register.file("records", "a/b").name == "a%2Fb.parquet"
    assert register.file("events", "a/b") is None
    assert (register.first_month, register.last_month, register.step_months) == ("2023-01", "2023-01", 1)
    assert register.columns("records") == [
        "household_id",
        "month",
        "known_at",
        "welfare",
        "hh_size",
        "food_ok",
    ]
    assert register.columns("events") == [] and not register.has("events")
    there = register.read("records", "甲县")
    assert list(there.household_id) == ["01", "03"]
    assert list(there.food_ok) == [True, False] and list(there.hh_size) == [3, 1]
    everywhere = register.read("records")
    assert len(everywhere) == 3 and everywhere.hh_size.isna().sum() == 1
    with pytest.raises(NotFound, match="no county"):
        register.read("records", "x")
    with pytest.raises(NotFound, match="no table"):
        register.read("events")
    schema = pq.read_schema(register.file("records", "甲县"))
    assert [str(schema.field(n).type) for n in ("household_id", "month", "welfare", "hh_size", "food_ok")] == [
        "string",
        "date32[day]",
        "double",
        "int32",
        "bool",
    ]


def test_a_day_that_has_not_come_yet_for_anybody_is_a_column_that_the_register_holds(tmp_path):
    records = monthly("h", "2023-01", [130.0] * 6)
    spells = pd.DataFrame({"household_id": ["h"], "identified_on": ["2023-02-10"], "known_at": ["2023-02-12"]})
    ended = pd.Series([None], dtype="datetime64[ns]")
    for name, given, held in (("blank", spells.assign(eliminated_on=ended), True), ("not asked", spells, False)):
        register = make_register(tmp_path / name, records=records, spells=given)
        assert ("eliminated_on" in register.columns("spells")) == held
        found = build_features(register, [month_number("2023-06")], load_catalogue())
        assert ("monitored_now" in found.frame) == held
        assert not held or found.frame["monitored_now"].tolist() == [1.0]


def test_of_what_was_told_again_the_version_known_last_is_read(tmp_path):
    events = pd.DataFrame({
        "household_id": ["h", "h", "h"], "kind": ["illness", "disaster", "illness"],
        "onset_on": ["2023-02-01", "2023-03-01", "2023-02-01"], "known_at": ["2023-02-05", "2023-03-05", "2023-05-01"],
        "verified": [True, True, False],
    })  # fmt: skip
    register = make_register(tmp_path, records=monthly("h", "2023-01", [130.0] * 6), events=events)
    assert register.revised == {"events"}
    rows = register.read_last("events")
    assert dict(zip(rows["kind"], rows["verified"], strict=True)) == {"illness": False, "disaster": True}
