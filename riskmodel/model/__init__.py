"""Models and baselines, how they are trained, kept and tracked."""
