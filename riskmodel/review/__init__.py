"""Human decisions on alerts: recorded for good, held against each other and against what happened, and fed back."""
