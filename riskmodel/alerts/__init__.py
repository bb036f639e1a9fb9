"""The monthly batch: scores, alerts, what stands behind them."""
