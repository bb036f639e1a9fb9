"""The job that `scale.py` times, in a process of its own: risks of all at risk, drivers of those on the lists, as Parquet.

python benchmarks/scale_job.py REGISTER MODEL OUT WORKERS
"""

from __future__ import annotations

import json
import resource
import sys
from functools import cache, partial
from pathlib import Path
from typing import Any

from riskmodel.processes import SCORING, get_ready, pool

AS_OF, MONTH_NO = "2023-12", 2023 * 12 + 11
SHARE = 0.05


def run(register: Path, model: Path, out: Path, workers: int) -> dict[str, float]:
    """All counties, in a pool of processes where there are several; the number of alerts, and memory at the peak.

    The peak is that of this process and, for each worker, of the largest; what workers share is counted in each.
    """
    if workers > 1:
        get_ready(SCORING)
    from riskmodel.register import Register

    counties = Register.open(register).counties
    one = partial(score_one, register, model, out)
    if workers > 1 and len(counties) > 1:
        with pool(workers, SCORING) as processes:
            done = list(processes.map(one, counties))
        peak = peak_of_this_process() + workers * max(worker for _, worker in done)
    else:
        done = list(map(one, counties))
        peak = peak_of_this_process()
    return {"alerts": sum(alerts for alerts, _ in done), "peak_gib": peak / 2**20}


def score_one(register: Path, model: Path, out: Path, county: str) -> tuple[int, int]:
    """One county; gives the number of alerts, and the memory of this process at its peak."""
    import numpy as np

    from riskmodel.alerts.scoring import score_county
    from riskmodel.explain.drivers import driver_contributions

    opened, kept = _opened(register, model)
    scores = score_county(opened, kept, MONTH_NO, county, capacity=SHARE)
    rows = np.flatnonzero(scores.frame["rank"].to_numpy() <= np.ceil(len(scores) * SHARE))
    drivers, _ = driver_contributions(kept, scores.features_of(rows))
    scores.frame.to_parquet(out / f"{county}-scores.parquet", index=False)
    drivers.to_parquet(out / f"{county}-drivers.parquet", index=False)
    return len(rows), peak_of_this_process()


@cache
def _opened(register: Path, model: Path) -> tuple[Any, Any]:
    from riskmodel.model.bundle import RiskModel
    from riskmodel.register import Register

    return Register.open(register), RiskModel.load(model)


def peak_of_this_process() -> int:
    """KiB at the peak; not `ru_maxrss`, which on Linux starts from the process that this one was started by."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))


if __name__ == "__main__":
    print(json.dumps(run(*map(Path, sys.argv[1:4]), int(sys.argv[4]))))
