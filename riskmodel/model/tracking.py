"""Runs and the model registry: the only module that knows MLflow."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from riskmodel.errors import NotFound, UsageError, refused_by_disk
from riskmodel.model.bundle import RiskModel, example_rows, temporary_bundle
from riskmodel.register.commit import staging
from riskmodel.settings import CAPACITY_METRIC, SIMPLE, Tracking, without_password

if TYPE_CHECKING:
    from riskmodel.cohort.cohorts import Cohorts
    from riskmodel.study import Study

CHALLENGER, CHAMPION = "challenger", "champion"
DEFAULT_STORE = "mlflow.db"
_EVALUATIONS = "evaluations"
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


def store_uri(uri: str | None = None) -> str:
    """The tracking URI: as given, else `MLFLOW_TRACKING_URI`, else a SQLite file in the current folder."""
    return uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{DEFAULT_STORE}"


def _shown(uri: str | None) -> str:
    return without_password(store_uri(uri))


def _client(uri: str | None, make: bool = False) -> Any:
    """MLflow on a store, which is made where it is missing only if something is to be written there."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    import mlflow

    for name in ("alembic", "mlflow", "mlflow.store.db.utils", "mlflow.tracking._model_registry.fluent"):
        logging.getLogger(name).setLevel(logging.ERROR)
    where, named = store_uri(uri), _shown(uri)
    if (store := _file_of(where)) is not None:
        if store.is_dir() or not (make or store.exists()):
            raise NotFound(
                f"{named}: no MLflow store there. Check --tracking-uri and MLFLOW_TRACKING_URI, or train a model first: "
                "riskmodel train RUN.yaml --register REGISTER."
            )
        store.parent.mkdir(parents=True, exist_ok=True)
        store.open("rb" if store.exists() else "ab").close()  # MLflow tries a store that may not be opened again and again
    from mlflow.exceptions import MlflowException
    from sqlalchemy import create_engine, inspect
    from sqlalchemy.exc import SQLAlchemyError

    try:
        if where.split(":")[0].split("+")[0] in _DATABASES:  # one that does not answer MLflow asks for a hundred seconds
            tried = create_engine(where)
            inspect(tried)
            tried.dispose()
        mlflow.set_tracking_uri(where)
        mlflow.set_registry_uri(where)
        mlflow.MlflowClient().get_experiment_by_name(Tracking().experiment)
    except (MlflowException, SQLAlchemyError, ImportError) as fault:
        if disk := refused_by_disk(fault):
            disk.filename = named
            raise disk from None
        raise UsageError(
            f"{named}: no MLflow store that can be opened ({type(fault).__name__}). Give sqlite:///FILE or http://HOST:PORT "
            "of an MLflow server: --tracking-uri or MLFLOW_TRACKING_URI."
        ) from None
    return mlflow


def _file_of(uri: str) -> Path | None:
    """The file of a SQLite store; None for any other."""
    return Path(uri.removeprefix("sqlite:///")).resolve() if uri.startswith("sqlite:///") else None


def _artifacts(store: Path, experiment: str) -> Path:
    """Where a new experiment of a SQLite store keeps its files."""
    return store.parent / "mlartifacts" / experiment


def _experiment(mlflow: Any, uri: str, name: str) -> str:
    found = mlflow.get_experiment_by_name(name)
    if found is not None:
        return found.experiment_id
    store = _file_of(uri)
    return mlflow.create_experiment(name, artifact_location=None if store is None else _artifacts(store, name).as_uri())


def checked_store(tracking: Tracking) -> None:
    """Whether a study can be logged, before anything is computed for it: nothing is made or changed.

    A SQLite file and folders of this machine are tried; of a server or a database, whether it answers.

    Raises
    ------
    UsageError
        If there is no store that can be opened or made, or its experiment was deleted.
    OSError
        If this account may not write the store or the files of its experiment.
    """
    store = _file_of(store_uri(tracking.uri))
    files, found = None, None
    if store is not None:
        if store.is_dir():
            raise UsageError(f"{_shown(tracking.uri)}: it is a folder, the store is to be a file. Choose another name.")
        with staging(store):  # SQLite writes beside its file too
            files = _artifacts(store, tracking.experiment)
        if store.exists():
            store.open("r+b").close()
    if store is None or store.exists():
        found = _client(tracking.uri).get_experiment_by_name(tracking.experiment)
    if found is not None:
        if found.lifecycle_stage == "deleted":
            raise UsageError(
                f"{_shown(tracking.uri)}: the experiment {tracking.experiment!r} was deleted there. Restore it (mlflow "
                "experiments restore), or name another one (tracking.experiment)."
            )
        files = _folder_of(found.artifact_location)
    if files is not None:
        with staging(files / "run"):
            pass


def _folder_of(location: str) -> Path | None:
    """The folder of this machine that a store keeps files in; None for a place elsewhere."""
    parts = urlsplit(location)
    return Path(url2pathname(parts.path)) if parts.scheme in ("", "file") else None


def log_study(study: Study, cohorts: Cohorts, tracking: Tracking) -> Study:
    """Log a study: a parent run, one nested run per split and for a search, the model, and its version as `challenger`.

    Returns
    -------
    Study
        The same study with `tracking` filled in (`uri`, `run_id`, `model_uri`, `version`).
    """
    uri = store_uri(tracking.uri)
    mlflow = _client(uri, make=True)
    client = mlflow.MlflowClient()
    experiment = _experiment(mlflow, uri, tracking.experiment)
    run = study.run
    with mlflow.start_run(experiment_id=experiment, run_name=run.name) as parent:
        mlflow.log_params(_flat(run.model_dump(mode="json", exclude={"tracking"})))
        mlflow.set_tags(
            {
                "register_sha256": cohorts.register["sha256"],
                "catalogue_sha256": cohorts.catalogue.sha256,
                "package_version": study.evidence["versions"]["household-riskmodel"],
            }
        )
        mlflow.log_dict(study.results_json(), "results.json")
        mlflow.log_dict(_plain(study.evidence), "evidence.json")
        mlflow.log_dict(_plain(study.evidence["assessment"]), "assessment.json")
        for name, text in cohorts.catalogue.sources:
            mlflow.log_text(text, f"catalogue/{name}")
        _log_metrics(mlflow, study, "test", run.register_model)
        splits = {split for found in study.results.values() for split in found}
        folds = {f.name: f.describe() for f in study.folds}
        for split in sorted(splits):
            with mlflow.start_run(experiment_id=experiment, run_name=split, nested=True):
                mlflow.set_tags(folds.get(split, {"fold": split}))
                for model, found in study.results.items():
                    if split in found:
                        mlflow.log_metrics(_finite({f"{model}.{m}": i.value for m, i in found[split].items()}))
        if tuning := study.evidence.get("tuning"):
            with mlflow.start_run(experiment_id=experiment, run_name="tuning", nested=True):
                mlflow.log_params({"metric": tuning["metric"], "best": tuning["best"], **tuning["params"]})
                for trial in tuning["trials"]:
                    mlflow.log_metric(tuning["metric"], trial["value"], step=trial["trial"])
        medians = {name: float(cohorts.frame[name].median()) for name in study.model.inputs}
        with temporary_bundle(study.model) as folder:
            example = example_rows(study.model, medians)
            info = mlflow.pyfunc.log_model(
                name="model",
                loader_module="riskmodel.model.bundle",
                data_path=str(Path(folder) / "bundle"),
                signature=mlflow.models.infer_signature(example, study.model.risk(example)),
                input_example=example,
                pip_requirements=["household-riskmodel"],
            )
        if not client.search_registered_models(f"name = '{tracking.registered_model}'"):
            client.create_registered_model(tracking.registered_model)
        version = client.create_model_version(
            tracking.registered_model, info.model_uri, parent.info.run_id, model_id=info.model_id
        ).version
        client.set_registered_model_alias(tracking.registered_model, CHALLENGER, version)
    model = replace(study.model, version=str(version))
    found = {
        "uri": without_password(uri),
        "run_id": parent.info.run_id,
        "model_uri": f"models:/{tracking.registered_model}/{version}",
        "version": str(version),
    }
    return replace(study, model=model, tracking=found)


def checked_to_keep(model_uri: str, tracking_uri: str | None = None) -> None:
    """Whether `keep_evaluation` can write, before anything is computed for it: folders of this machine are tried.

    Raises
    ------
    OSError
        If this account may not write the files of the model's run.
    """
    run_id = _run_of(model_uri, tracking_uri)
    if run_id and (files := _folder_of(_client(tracking_uri).get_run(run_id).info.artifact_uri)) is not None:
        with staging(files / _EVALUATIONS / "later"):
            pass


def keep_evaluation(model_uri: str, evaluation: Mapping[str, Any], tracking_uri: str | None = None) -> None:
    """Keep a later evaluation with the run of a registered model; nothing for a model outside a registry."""
    run_id = _run_of(model_uri, tracking_uri)
    if run_id:
        stamp = evaluation["looks"]["this"]["at"].replace(":", "").replace("+0000", "Z")
        _client(tracking_uri).MlflowClient().log_dict(run_id, _plain(dict(evaluation)), f"{_EVALUATIONS}/{stamp}.json")


def later_evaluations(model_uri: str, tracking_uri: str | None = None) -> list[dict[str, Any]]:
    """Evaluations that were kept with a registered model after its training, oldest first."""
    run_id = _run_of(model_uri, tracking_uri)
    if not run_id:
        return []
    mlflow = _client(tracking_uri)
    found = sorted(a.path for a in mlflow.MlflowClient().list_artifacts(run_id, _EVALUATIONS))
    return [mlflow.artifacts.load_dict(f"runs:/{run_id}/{path}") for path in found]


def promotion_of(model_uri: str, tracking_uri: str | None = None) -> dict[str, str] | None:
    """How a registered version became champion: `over` (the version before, or `none`), `better` (`yes` or `no`) and
    `reason`; None for one that never was, and outside a registry."""
    if not model_uri.startswith("models:/"):
        return None
    mlflow = _client(tracking_uri)
    name = model_uri.removeprefix("models:/").split("@")[0].split("/")[0]
    tags = mlflow.MlflowClient().get_model_version(name, _version(mlflow, model_uri)).tags
    if "promotion_reason" not in tags:
        return None
    return {
        "over": tags["promoted_over"],
        "better": tags.get("promotion_better", "no"),
        "reason": tags["promotion_reason"],
    }


def _run_of(model_uri: str, tracking_uri: str | None) -> str | None:
    """The run that made a registered model; None outside a registry."""
    if not model_uri.startswith("models:/"):
        return None
    mlflow = _client(tracking_uri)
    name = model_uri.removeprefix("models:/").split("@")[0].split("/")[0]
    version = _version(mlflow, model_uri)
    return mlflow.MlflowClient().get_model_version(name, version).run_id if version else None


def load_model(uri: str | Path, tracking_uri: str | None = None) -> RiskModel:
    """A model by `models:/name@alias`, `models:/name/version`, `runs:/...`, or the folder of a bundle.

    Raises
    ------
    NotFound
        If there is no such model; the message says what to run first.
    IntegrityError
        If a file of the model does not match its hash.
    """
    text = str(uri)
    if not text.startswith(("models:/", "runs:/")):
        folder = Path(text)
        for candidate in (folder, folder / "model"):
            if (candidate / "spec.json").is_file():
                return RiskModel.load(candidate)
        raise NotFound(f"{text}: no model there. Give models:/return-risk@champion, or a folder with spec.json.")
    mlflow = _client(tracking_uri)
    version = _version(mlflow, text) if text.startswith("models:/") else None
    from mlflow.exceptions import MlflowException

    try:
        local = Path(mlflow.artifacts.download_artifacts(text))
    except (MlflowException, OSError) as fault:
        if refused_by_disk(fault):
            raise
        raise NotFound(
            f"{text}: not found in {_shown(tracking_uri)} ({type(fault).__name__}). Name the store it was "
            "registered in with --tracking-uri or MLFLOW_TRACKING_URI, or the folder of the bundle."
        ) from None
    found = sorted(local.rglob("spec.json"))
    if not found:
        raise NotFound(f"{text}: it is no riskmodel bundle.")
    return RiskModel.load(found[0].parent, version)


@dataclass(frozen=True)
class Promotion:
    """What a promotion did: the champion before (or ''), the champion now, and how the two compare."""

    before: str
    now: str
    standing: str


def promote(version: str, reason: str | None = None, tracking: Tracking | None = None) -> Promotion:
    """Move the alias `champion` to a version (or to what an alias names).

    Without a reason only a version that was found better at capacity is promoted: the interval of its gain in
    `recall_at_capacity` over the champion, on months that neither had seen, lies above 0; where there is no champion,
    over every simple rule. With a reason any version is; reason and comparison are stored with it. The champion stays what
    it is, with the reason for which it was promoted.

    Raises
    ------
    UsageError
        If the version was not found better and no reason is given.
    NotFound
        If there is no such version.
    """
    tracking = tracking or Tracking()
    reason = (reason or "").strip()
    mlflow = _client(tracking.uri)
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient()
    name = tracking.registered_model
    number = str(version).removeprefix("v")
    try:
        if number in (CHALLENGER, CHAMPION):
            number = client.get_model_version_by_alias(name, number).version
        client.get_model_version(name, number)
    except MlflowException:
        raise NotFound(f"{name} has no version {version} in {_shown(tracking.uri)}: run riskmodel train first.") from None
    try:
        before = str(client.get_model_version_by_alias(name, CHAMPION).version)
    except MlflowException:
        before = ""
    if before == str(number):
        return Promotion(before, before, "it is the champion already, and nothing was changed")
    better, standing = standing_of(load_model(f"models:/{name}/{number}", tracking.uri).evidence, before)
    if not better and not reason:
        raise UsageError(
            f"version {number} was not promoted: {standing}. To promote it all the same, say why: --reason TEXT; the "
            "reason is stored with the version."
        )
    client.set_model_version_tag(name, number, "promotion_reason", reason or "better at capacity")
    client.set_model_version_tag(name, number, "promotion_better", "yes" if better else "no")
    client.set_model_version_tag(name, number, "promotion_standing", standing)
    client.set_model_version_tag(name, number, "promoted_over", before or "none")
    client.set_registered_model_alias(name, CHAMPION, number)
    return Promotion(before, str(number), standing)


def standing_of(evidence: Mapping[str, Any], champion: str) -> tuple[bool, str]:
    """Whether the evidence of a training shows a model better at capacity than the champion, and how it stands, in words.

    Parameters
    ----------
    evidence
        Of the challenger.
    champion
        Version of the champion; '' where there is none, and then the simple rules are the ones to beat.

    >>> gain = {"differences": {"recall_at_capacity": {"value": 0.04, "low": 0.01, "high": 0.07}}}
    >>> standing_of({"champion": {"version": "1", "how": "as it is", **gain}}, "1")
    (True, 'better than champion 1 at capacity: recall +0.040 [+0.010, +0.070]')
    """
    if champion:
        found = evidence.get("champion", {})
        if found.get("version") != champion:
            return False, f"it was never compared with champion {champion}; train it again"
        if "none" in found:
            return False, f"it could not be compared with champion {champion}: {found['none']}"
        rivals = {f"champion {champion}": found["differences"]}
        how = ", recipes on the same months" if found["how"] == "recipe" else ""
    else:
        every = evidence.get("differences", {})
        rivals = {rule.replace("_", " "): every[rule] for rule in SIMPLE if rule in every}
        how = ""
    if not rivals:
        return False, "there is nothing that it was compared with"
    rival, figures = min(rivals.items(), key=lambda item: _number(item[1][CAPACITY_METRIC]["low"]))
    gain = figures[CAPACITY_METRIC]
    low, better = _number(gain["low"]), _number(gain["low"]) > 0
    said = f"recall {_number(gain['value']):+.3f} [{low:+.3f}, {_number(gain['high']):+.3f}]{how}"
    return better, f"{'better' if better else 'not shown to be better'} than {rival} at capacity: {said}"


def _number(value: float | None) -> float:
    return -math.inf if value is None else float(value)


def _version(mlflow: Any, uri: str) -> str:
    from mlflow.exceptions import MlflowException

    name, _, alias = uri.removeprefix("models:/").partition("@")
    if not alias:
        return name.rpartition("/")[2]
    try:
        return str(mlflow.MlflowClient().get_model_version_by_alias(name, alias).version)
    except MlflowException:
        hint = (
            "promote one first: riskmodel promote VERSION --reason TEXT"
            if alias == CHAMPION
            else "train one first: riskmodel train RUN.yaml --register REGISTER"
        )
        raise NotFound(f"{uri}: no model has that alias in {_shown(mlflow.get_tracking_uri())}; {hint}.") from None


def _log_metrics(mlflow: Any, study: Study, split: str, model: str) -> None:
    found = study.results.get(model, {}).get(split, {})
    figures = {}
    for metric, interval in found.items():
        figures |= {metric: interval.value, f"{metric}.low": interval.low, f"{metric}.high": interval.high}
    mlflow.log_metrics(_finite(figures))


def _finite(figures: dict[str, float]) -> dict[str, float]:
    return {k: v for k, v in figures.items() if math.isfinite(v)}


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if not isinstance(value, list) else ", ".join(map(str, value))
    return flat


def _plain(evidence: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(evidence, default=str))
