"""Real panels: every model and baseline with intervals, as `riskmodel train` finds them.

    python benchmarks/panels.py [--data ../shared/data] [--write benchmarks/panels.md]

Reads the panels in place; takes about ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from pathlib import Path

import riskmodel as rm
from riskmodel.catalogue import load_catalogue

SHOWN = (
    "roc_auc", "pr_auc", "brier", "log_loss", "calibration_slope", "calibration_intercept",
    "precision_at_capacity", "recall_at_capacity",
)  # fmt: skip
PANELS = {
    "eph_1q": "Argentina, one quarter ahead: training outcomes up to 2014Q2, test origins from 2014Q2",
    "eph_4q": "Argentina, four quarters ahead: training outcomes up to 2013Q4, test origins from 2013Q4",
}
PLAIN = {
    "eph_1q": "plain script, features at t only .845 / .421 / .0765; with earlier visits .851 / .438 / .0754",
    "eph_4q": "plain script, features at t only .835 / .418 / .0812; with earlier visits .837 / .418 / .0812",
}


def panel(register: rm.Register, name: str) -> str:
    """One panel's table in Markdown."""
    run = rm.load_run(f"configs/runs/{name}.yaml")
    cohorts = rm.build_cohorts(
        register, label=run.label, at_risk=run.at_risk, months=run.cohorts, catalogue=load_catalogue(run.catalogue)
    )
    study = rm.train(cohorts, run, track=False, progress=lambda what: print(f"{name}: {what}", file=sys.stderr))
    facts = study.evidence["data"]
    lines = [
        f"## {PANELS[name]}",
        "",
        f"{facts['train']['rows']:,} training rows; {facts['test']['rows']:,} test rows, {facts['test']['rate']:.1%} fell.",
        f"Reference (ROC-AUC / PR-AUC / Brier): {PLAIN[name]}.",
    ]
    for split in ("test", "test_disjoint"):
        lines += ["", f"### {split}", "", f"| model | {' | '.join(SHOWN)} |", "|---" * (len(SHOWN) + 1) + "|"]
        for model, splits in study.results.items():
            cells = [
                f"{i.value:.4f} ({i.low:.4f}-{i.high:.4f})" if i.value == i.value else "-"
                for i in (splits[split][m] for m in SHOWN)
            ]
            lines.append(f"| {model} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run all panels and print or write the page."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, default=Path("../shared/data"))
    arguments.add_argument("--write", type=Path)
    given = arguments.parse_args()
    file = given.data / "eph" / "eph_2009_2015.parquet"
    if not file.is_file():
        sys.exit(f"{file}: not there; give the folder of the panels with --data")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "register"
        rm.ingest(rm.find_config("sources/eph.yaml"), file, out)
        pages = [panel(rm.Register.open(out), name) for name in PANELS]
    head = (
        f"# Real panels\n\nMade by `python benchmarks/panels.py`. Python {platform.python_version()}, {platform.machine()}."
    )
    page = "\n\n".join([head, *pages]) + "\n"
    print(page)
    if given.write:
        given.write.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
