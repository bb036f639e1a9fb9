"""MLflow stores that are not there or cannot be opened, and what is told and kept of them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import mlflow
import pytest

from riskmodel.errors import NotFound, UsageError
from riskmodel.model.tracking import checked_store, load_model, promote
from riskmodel.settings import Run, Tracking

CHAMPION = "models:/return-risk@champion"


def test_looking_into_a_store_that_is_not_there_makes_none(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'misspelt' / 'mlflow.db'}"
    with pytest.raises(NotFound, match="no MLflow store there.*--tracking-uri"):
        load_model(CHAMPION, store)
    with pytest.raises(NotFound, match="no MLflow store there"):
        promote("1", "because", Tracking(uri=store))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["a word", "another scheme", "no database", "nobody there"])
def test_a_store_that_cannot_be_opened_is_told_at_once_and_without_its_password(tmp_path: Path, kind: str) -> None:
    (tmp_path / "text.db").write_text("not a database " * 100)
    store = {
        "a word": "nonsense",
        "another scheme": "nonsense://office:secret@somewhere/mlflow",
        "no database": f"sqlite:///{tmp_path / 'text.db'}",
        "nobody there": "postgresql+psycopg://office:secret@127.0.0.1:9/mlflow",
    }[kind]
    begun = time.monotonic()
    with pytest.raises(UsageError, match="sqlite:///FILE") as caught:
        load_model(CHAMPION, store)
    assert "secret" not in str(caught.value)
    assert time.monotonic() - begun < 60, "MLflow tries again for a hundred seconds"


def test_a_store_that_is_to_be_made_is_tried_and_nothing_stays(tmp_path: Path) -> None:
    checked_store(Tracking(uri=f"sqlite:///{tmp_path / 'office' / 'mlflow.db'}"))
    assert not list(tmp_path.iterdir())
    (tmp_path / "mlartifacts").write_text("a file in the way")
    with pytest.raises(OSError, match="File exists|Not a directory"):
        checked_store(Tracking(uri=f"sqlite:///{tmp_path / 'mlflow.db'}"))
    with pytest.raises(UsageError, match="it is a folder"):
        checked_store(Tracking(uri=f"sqlite:///{tmp_path}"))


def test_an_experiment_that_was_deleted_is_told_before_a_training(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    mlflow.delete_experiment(mlflow.create_experiment("villages", artifact_location=(tmp_path / "files").as_uri()))
    with pytest.raises(UsageError, match="'villages' was deleted.*restore.*tracking.experiment"):
        checked_store(Tracking(uri=uri, experiment="villages"))
    checked_store(Tracking(uri=uri))


def test_what_is_kept_of_a_run_holds_no_password_of_its_store() -> None:
    run = Run(name="r", tracking=Tracking(uri="postgresql://office:secret@db.example/mlflow"))
    assert "secret" not in json.dumps(run.model_dump(mode="json"))
    assert run.tracking.uri == "postgresql://office:secret@db.example/mlflow"
