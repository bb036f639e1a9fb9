"""Values of groups equal brute force over all coalitions, read from LightGBM's own dump, and TreeSHAP feature by feature."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from itertools import combinations
from math import factorial
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riskmodel.errors import UsageError
from riskmodel.explain import games, plain, shapley
from riskmodel.explain.shapley import GroupExplainer

QUIET = {"verbosity": -1, "num_threads": 1, "seed": 1, "min_data_in_leaf": 3, "min_data_in_bin": 1}


def goes_left(node: Mapping[str, Any], x: float) -> bool:
    """LightGBM's decision, as its documentation describes it."""
    if node["decision_type"] == "==":
        return bool(x > -1) and str(int(x)) in node["threshold"].split("||")
    missing = {"None": False, "Zero": np.isnan(x) or abs(x) <= 1e-35, "NaN": np.isnan(x)}[node["missing_type"]]
    if missing:
        return node["default_left"]
    return bool(np.nan_to_num(x) <= node["threshold"])


def size(node: Mapping[str, Any]) -> int:
    return node["internal_count"] if "split_feature" in node else node["leaf_count"]


def expected(node: Mapping[str, Any], x: np.ndarray, present: np.ndarray) -> float:
    """Value of a tree with only some features known, absent ones averaged over the training rows at each split."""
    if "split_feature" not in node:
        return node["leaf_value"]
    left, right = node["left_child"], node["right_child"]
    if present[node["split_feature"]]:
        return expected(left if goes_left(node, x[node["split_feature"]]) else right, x, present)
    total = size(left) + size(right)
    return (size(left) * expected(left, x, present) + size(right) * expected(right, x, present)) / total


def brute_force(
    booster: lightgbm.Booster, group_of: np.ndarray, x: np.ndarray, background: np.ndarray | None = None
) -> np.ndarray:
    """Shapley values of a row by the sum over all coalitions of groups, the base last."""
    trees = [t["tree_structure"] for t in booster.dump_model()["tree_info"]]
    groups = range(group_of.max() + 1)

    def worth(coalition: tuple[int, ...]) -> float:
        present = np.isin(group_of, coalition)
        if background is not None:
            return float(booster.predict(np.where(present, x, background), raw_score=True, num_threads=1).mean())
        return sum(expected(t, x, present) for t in trees)

    n = len(groups)
    worths = {c: worth(c) for k in range(n + 1) for c in combinations(groups, k)}
    values = np.zeros(n + 1)
    for coalition, value in worths.items():
        for g in groups:
            k = len(coalition)
            if g in coalition:
                values[g] += value * factorial(k - 1) * factorial(n - k) / factorial(n)
            else:
                values[g] -= value * factorial(k) * factorial(n - k - 1) / factorial(n)
    values[n] = worths[()]
    return values


def table(rng: np.random.Generator, rows: int, features: int, missing: float = 0.15, zeros: float = 0.1) -> np.ndarray:
    X = rng.normal(size=(rows, features)).round(2)
    X[rng.random(X.shape) < zeros] = 0.0
    X[rng.random(X.shape) < missing] = np.nan
    return X


def outcome(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    Z = np.nan_to_num(X, nan=0.7)
    return (
        Z @ rng.normal(size=Z.shape[1]) + Z[:, 0] * Z[:, -1] + np.where(np.isnan(X[:, 0]), 1.0, 0.0) * Z[:, 1 % Z.shape[1]]
    )


def booster(X: np.ndarray, y: np.ndarray, rounds: int = 5, categorical: list[int] | None = None, **params: Any):
    data = lightgbm.Dataset(X, y, categorical_feature=categorical or [], params={"min_data_in_bin": 1, **params})
    return lightgbm.train({**QUIET, **params}, data, rounds)


def named(group_of: np.ndarray) -> dict[str, str]:
    return {f"Column_{i}": f"g{g}" for i, g in enumerate(group_of)}


def numbered(group_of: np.ndarray) -> np.ndarray:
    """Groups numbered as they first appear, as the explainer does."""
    return np.array([list(dict.fromkeys(group_of)).index(g) for g in group_of])


def difference(model: lightgbm.Booster, group_of: np.ndarray, X: np.ndarray, background: np.ndarray | None = None) -> float:
    """Largest difference between the explainer and brute force, base included."""
    explainer = GroupExplainer(model, named(group_of), data=background)
    values = explainer.shap_values(X)
    truth = np.array([brute_force(model, numbered(group_of), x, background) for x in X])
    return max(np.abs(values - truth[:, :-1]).max(), np.abs(explainer.expected_value - truth[:, -1]).max())


KINDS = {
    "missing": {},
    "zero_as_missing": {"zero_as_missing": True},
    "no_missing_handling": {"use_missing": False},
    "deep": {"num_leaves": 60, "min_data_in_leaf": 1, "min_sum_hessian_in_leaf": 0},
    "more_than_64_leaves": {"num_leaves": 130, "min_data_in_leaf": 1, "min_sum_hessian_in_leaf": 0},
    "stumps": {"num_leaves": 2},
    "random_forest": {"boosting": "rf", "bagging_fraction": 0.6, "bagging_freq": 1},
    "dart": {"boosting": "dart"},
    "log_odds": {"objective": "binary"},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reference", ["tree_path_dependent", "interventional"])
def test_values_equal_brute_force(kind: str, reference: str) -> None:
    rng = np.random.default_rng(len(kind))
    X = table(rng, 150, 7)
    y = outcome(X, rng)
    model = booster(X, (y > 0).astype(float) if kind == "log_odds" else y, **{"num_leaves": 12, **KINDS[kind]})
    asked = np.vstack([table(rng, 4, 7), np.full(7, np.nan), np.zeros(7), np.full(7, np.inf)])
    background = table(rng, 25, 7) if reference == "interventional" else None
    assert difference(model, np.array([0, 1, 0, 2, 3, 2, 0]), asked, background) < 1e-9


@pytest.mark.parametrize("reference", ["tree_path_dependent", "interventional"])
def test_categorical_splits_equal_brute_force(reference: str) -> None:
    rng = np.random.default_rng(5)
    X = table(rng, 400, 5)
    X[:, 1], X[:, 3] = rng.integers(0, 70, 400), rng.integers(0, 3, 400)
    y = np.isin(X[:, 1] % 7, [1, 2, 5]) * 2.0 + (X[:, 3] == 1) * np.nan_to_num(X[:, 0])
    model = booster(X, y, categorical=[1, 3], min_data_per_group=2, cat_smooth=1.0, max_cat_to_onehot=1)
    assert "||" in str(model.dump_model()["tree_info"])
    asked = X[:6].copy()
    asked[:4, 1] = [np.nan, -3, 1000, 65]
    background = X[20:40] if reference == "interventional" else None
    assert difference(model, np.array([0, 1, 0, 2, 2]), asked, background) < 1e-9


@pytest.mark.parametrize("reference", ["tree_path_dependent", "interventional"])
def test_a_leaf_with_too_many_groups_for_a_table_is_as_exact(reference: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    X = table(rng, 300, 9)
    model = booster(X, outcome(X, rng), num_leaves=30)
    background = X[:40] if reference == "interventional" else None
    values = GroupExplainer(model, data=background).shap_values(X[:50])
    monkeypatch.setattr(games, "TABLE_BITS", 2)
    explainer = GroupExplainer(model, data=background)
    assert explainer._paths.long
    assert np.abs(explainer.shap_values(X[:50]) - values).max() < 1e-12
    monkeypatch.setattr(shapley, "_load_kernels", lambda: plain)
    assert np.abs(GroupExplainer(model, data=background).shap_values(X[:50]) - values).max() < 1e-12


def test_one_group_a_feature_equals_treeshap() -> None:
    import shap

    rng = np.random.default_rng(7)
    X = table(rng, 600, 20)
    model = booster(X, outcome(X, rng), rounds=30, num_leaves=40)
    found = GroupExplainer(model)(X[:60])
    theirs = shap.TreeExplainer(model, feature_perturbation="tree_path_dependent")(X[:60])
    assert np.abs(found.values - theirs.values).max() < 1e-9
    assert np.abs(found.base_values - theirs.base_values).max() < 1e-9
    assert (found.data == X[:60])[~np.isnan(X[:60])].all()
    contributions = model.predict(X[:60], pred_contrib=True)
    assert np.abs(found.values - contributions[:, :-1]).max() < 1e-9


def test_one_group_a_feature_equals_interventional_treeshap() -> None:
    """shap keeps its weights in float32, hence 1e-6; brute force holds to 1e-9."""
    import shap

    rng = np.random.default_rng(8)
    X = table(rng, 600, 12, zeros=0)
    model = booster(X, outcome(X, rng), rounds=10, num_leaves=20)
    explainer = GroupExplainer(model, data=X[:80])
    theirs = shap.TreeExplainer(model, data=X[:80], feature_perturbation="interventional")
    assert np.abs(explainer.shap_values(X[100:140]) - theirs.shap_values(X[100:140])).max() < 1e-6
    assert abs(explainer.expected_value - theirs.expected_value) < 1e-6


@pytest.mark.parametrize("reference", ["tree_path_dependent", "interventional"])
def test_more_than_sixteen_groups_on_one_path_add_up_and_equal_treeshap(reference: str) -> None:
    """A chain of conditions: the last leaf has 24 groups on its path."""
    import shap

    rng = np.random.default_rng(9)
    X = (rng.random((3000, 24)) < 0.9).astype(float)
    y = np.cumprod(X, axis=1).sum(axis=1)
    model = booster(X, y, rounds=3, num_leaves=40, min_data_in_leaf=1)
    explainer = GroupExplainer(model, data=X[:50] if reference == "interventional" else None)
    assert np.diff(explainer._paths.layout.group_start).max() > 16
    values = explainer.shap_values(X[:200])
    assert np.abs(explainer.expected_value + values.sum(axis=1) - model.predict(X[:200], raw_score=True)).max() < 1e-9
    if reference == "tree_path_dependent":
        assert np.abs(values - model.predict(X[:200], pred_contrib=True)[:, :-1]).max() < 1e-9
    else:
        theirs = shap.TreeExplainer(model, data=X[:50], feature_perturbation="interventional")
        assert np.abs(values[:20] - theirs.shap_values(X[:20])).max() < 1e-6


def test_a_constant_model_gives_nothing_to_any_group() -> None:
    model = booster(np.zeros((50, 3)), np.ones(50))
    explainer = GroupExplainer(model)
    assert (explainer.shap_values(np.ones((4, 3))) == 0).all()
    assert explainer.expected_value == pytest.approx(model.predict(np.ones((1, 3)), raw_score=True)[0], abs=1e-12)
    assert GroupExplainer(model, data=np.zeros((2, 3))).expected_value == explainer.expected_value


def test_classes_have_values_of_their_own() -> None:
    rng = np.random.default_rng(10)
    X = table(rng, 300, 5)
    model = lightgbm.LGBMClassifier(n_estimators=6, **QUIET).fit(X, np.digitize(outcome(X, rng), [-1, 1]))
    explainer = GroupExplainer(model)
    found = explainer(X[:20])
    theirs = model.predict(X[:20], pred_contrib=True).reshape(20, 3, 6)
    assert found.shape == (20, 5, 3)
    assert np.abs(found.values - theirs[:, :, :-1].transpose(0, 2, 1)).max() < 1e-9
    assert np.abs(found.base_values - theirs[:, :, -1]).max() < 1e-9


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("as_array", [False, True])
def test_the_plots_of_shap_take_what_it_gives(grouped: bool, as_array: bool) -> None:
    import matplotlib
    import shap

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rng = np.random.default_rng(17)
    X = pd.DataFrame(table(rng, 120, 4), columns=["debt", "pay", "days", "land"])
    model = lightgbm.LGBMClassifier(n_estimators=5, **QUIET).fit(X, outcome(X.to_numpy(), rng) > 0)
    groups = {"money": ["debt", "pay"], "work": ["days", "land"]} if grouped else None
    found = GroupExplainer(model, groups)(X.to_numpy() if as_array else X)
    assert list(found.feature_names) == (["money", "work"] if grouped else list(X))
    shap.plots.waterfall(found[0], show=False)
    shown = [text.get_text() for text in pyplot.gca().get_yticklabels()]
    assert any("work" in label if grouped else "land" in label for label in shown)
    shap.plots.beeswarm(found, show=False)
    shap.plots.bar(found, show=False)
    pyplot.close("all")


def test_only_the_trees_up_to_the_best_iteration_count() -> None:
    rng = np.random.default_rng(11)
    X = table(rng, 400, 5)
    model = booster(X, outcome(X, rng), rounds=9)
    model.best_iteration = 4
    explainer = GroupExplainer(model)
    margin = explainer.expected_value + explainer.shap_values(X).sum(axis=1)
    assert np.abs(margin - model.predict(X)).max() < 1e-9
    assert np.abs(margin - model.predict(X, num_iteration=9)).max() > 0.1


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(2, 40), st.booleans())
def test_base_and_values_add_up_to_the_margin(seed: int, features: int, leaves: int, background: bool) -> None:
    rng = np.random.default_rng(seed)
    X = table(rng, 120, features)
    model = booster(X, outcome(X, rng), num_leaves=leaves, zero_as_missing=bool(seed % 2))
    explainer = GroupExplainer(model, named(rng.integers(0, 4, features)), data=X[:30] if background else None)
    asked = table(rng, 50, features).astype(np.float32)
    margin = model.predict(asked, raw_score=True)
    assert np.abs(explainer.expected_value + explainer.shap_values(asked).sum(axis=1) - margin).max() < 1e-9


@pytest.mark.parametrize("reference", ["tree_path_dependent", "interventional"])
def test_values_of_a_row_do_not_depend_on_other_rows_or_threads(reference: str) -> None:
    rng = np.random.default_rng(12)
    X = table(rng, 900, 6)
    model = booster(X, outcome(X, rng), rounds=20)
    groups, data = named(np.array([0, 0, 1, 2, 2, 3])), X[:300] if reference == "interventional" else None
    values = GroupExplainer(model, groups, data, threads=1).shap_values(X)
    explainer = GroupExplainer(model, groups, data, threads=2)
    order = rng.permutation(len(X))
    assert (explainer.shap_values(X) == values).all()
    assert (explainer.shap_values(X[order]) == values[order]).all()
    assert all((explainer.shap_values(X[i : i + 1]) == values[i]).all() for i in (0, 255, 256, 899))


def test_numpy_gives_the_same_values_where_numba_does_not_run(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    rng = np.random.default_rng(13)
    X = table(rng, 300, 6)
    model = booster(X, outcome(X, rng))
    groups = named(np.array([0, 1, 0, 2, 3, 3]))
    with_numba = [GroupExplainer(model, groups, data).shap_values(X) for data in (None, X[:40])]
    shapley._load_kernels.cache_clear()
    monkeypatch.setitem(sys.modules, "riskmodel.explain.kernels", None)
    with_numpy = [GroupExplainer(model, groups, data).shap_values(X) for data in (None, X[:40])]
    shapley._load_kernels.cache_clear()
    assert np.abs(np.array(with_numba) - np.array(with_numpy)).max() < 1e-12
    assert len(caplog.records) == 1


def test_features_with_more_thresholds_than_16_bits_number_are_ranked_in_32(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(16)
    X = table(rng, 300, 4)
    model = booster(X, outcome(X, rng))
    values = GroupExplainer(model).shap_values(X)
    monkeypatch.setattr(games.Columns, "empty_ranks", lambda self, rows: np.empty((len(self.feature), rows), np.uint32))
    assert (GroupExplainer(model).shap_values(X) == values).all()


def frame_model() -> tuple[lightgbm.Booster, pd.DataFrame]:
    rng = np.random.default_rng(14)
    X = pd.DataFrame(table(rng, 200, 3), columns=["debt", "pay", "work days"])
    X["place"] = pd.Categorical(rng.choice(["hill", "plain", "town"], 200))
    y = X["debt"].fillna(0) + (X["place"] == "town") * 2
    return lightgbm.LGBMRegressor(n_estimators=10, **QUIET).fit(X, y), X


def test_columns_are_found_by_name_and_categories_by_value() -> None:
    model, X = frame_model()
    explainer = GroupExplainer(model, {"debt": "money", "pay": "money", "work_days": "job", "place": "place"})
    values = explainer.shap_values(X)
    assert np.abs(explainer.expected_value + values.sum(axis=1) - model.predict(X)).max() < 1e-9
    shuffled = X[["place", "work days", "debt", "pay"]].assign(spare="x")
    shuffled["place"] = shuffled["place"].cat.set_categories(["town", "sea", "plain", "hill"])
    assert (explainer.shap_values(shuffled) == values).all()
    assert explainer(X).feature_names == ["money", "job", "place"]


def test_groups_may_be_given_either_way_round() -> None:
    model, X = frame_model()
    by_feature = GroupExplainer(model, {"debt": "a", "pay": "b", "work_days": "a", "place": "b"})
    by_group = GroupExplainer(model, {"a": ["debt", "work_days"], "b": ["pay", "place"]})
    assert by_feature.group_names == by_group.group_names == ("a", "b")
    assert (by_feature.shap_values(X) == by_group.shap_values(X)).all()


ALL = {"debt": "a", "pay": "a", "work_days": "a", "place": "a"}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda m, X: GroupExplainer(m, {}), "groups are empty"),
        (lambda m, X: GroupExplainer(m, {**ALL, "dept": "a"}), "no features dept. Did you mean debt"),
        (lambda m, X: GroupExplainer(m, {"debt": "a"}), "without a group: pay, work_days, place"),
        (lambda m, X: GroupExplainer(m, {"a": list(ALL), "b": []}), "groups without features: b"),
        (lambda m, X: GroupExplainer(m, {"a": list(ALL), "b": ["debt"]}), "debt is in two groups: a and b"),
        (lambda m, X: GroupExplainer(m, {"a": list(ALL), "debt": "b"}), "groups mix two forms"),
        (lambda m, X: GroupExplainer(m).shap_values(X.drop(columns="pay")), "columns are missing: pay"),
        (lambda m, X: GroupExplainer(m).shap_values(X.assign(pay="much")), "column pay holds values that are not numbers"),
        (lambda m, X: GroupExplainer(m).shap_values(np.zeros((2, 3))), "expected \\(rows, 4\\)"),
        (lambda m, X: GroupExplainer(m).shap_values(np.zeros(4)), "expected \\(rows, 4\\)"),
        (lambda m, X: GroupExplainer(m, data=X[:0]), "background has no rows"),
        (lambda m, X: GroupExplainer(m, feature_perturbation="interventional"), "needs a background"),
        (lambda m, X: GroupExplainer(m, data=X, feature_perturbation="tree_path_dependent"), "takes no background"),
        (lambda m, X: GroupExplainer(m, feature_perturbation="marginal"), "known: auto"),
        (lambda m, X: GroupExplainer(object()), "not a LightGBM model"),
        (lambda m, X: GroupExplainer(lightgbm.LGBMRegressor()), "not fitted"),
    ],
)
def test_a_mistake_is_named(wrong: Callable, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        wrong(*frame_model())


def test_linear_trees_are_refused() -> None:
    rng = np.random.default_rng(15)
    X = table(rng, 200, 3, missing=0)
    with pytest.raises(UsageError, match="linear trees"):
        GroupExplainer(booster(X, outcome(X, rng), linear_tree=True))


def test_no_rows_give_no_values() -> None:
    model, X = frame_model()
    assert GroupExplainer(model).shap_values(X[:0]).shape == (0, 4)


def test_importing_loads_neither_shap_nor_numba() -> None:
    code = "import sys, riskmodel.explain.shapley; print([m for m in ('shap', 'numba', 'lightgbm') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_thousand_random_models_equal_brute_force() -> None:
    worst = 0.0
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        features = int(rng.integers(2, 9))
        X = table(rng, int(rng.integers(30, 200)), features, *rng.choice([0, 0.1, 0.4], 2))
        categorical = [0] if rng.random() < 0.3 else []
        if categorical:
            X[:, 0] = rng.integers(0, 40, len(X))
        params = {**KINDS[str(rng.choice(list(KINDS)))], "num_leaves": int(rng.integers(2, 50)), "min_data_per_group": 3}
        y = outcome(X, rng)
        y = (y > 0).astype(float) if params.get("objective") == "binary" else y
        model = booster(X, y, rounds=int(rng.integers(1, 4)), categorical=categorical, **params)
        asked = table(rng, 3, features)
        group_of = rng.integers(0, 6, features)
        worst = max(worst, difference(model, group_of, asked), difference(model, group_of, asked, X[:12]))
    print(f"largest difference: {worst:.1e}")
    assert worst <= 1e-9
