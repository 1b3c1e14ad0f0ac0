"""Commodity forecast: sweep models and window lengths, keep the best, forecast prices with it.

Shows a sweep by nested `ParallelFor` loops (every kind of model with every window, all independent),
`Collected` over both of them, and metadata that travels with a model, so that the configuration and its
error stay with what they describe.

The prices are generated from a seed: daily returns with momentum, a weekly rhythm and a pull back to the
mean. The last `HELD_OUT` business days test the winner, the `HELD_OUT` before them choose it, and all earlier
ones train the candidates.

Outputs: `kind` and `window` of the winner, its mean absolute error in dollars on the test days
(`test_error`), that of saying "tomorrow as today" (`naive_error`), and `forecast`, a CSV file of the next
`horizon` business days.
"""

from typing import NamedTuple

from kfp import compiler, dsl
from kfp.dsl import Dataset, Input, Markdown, Metrics, Model, Output

REQUIREMENTS = ["scikit-learn==1.7.2", "numpy==2.3.5"]
KINDS = ["ridge", "random-forest", "gradient-boosting"]
WINDOWS = [3, 10, 20]
HELD_OUT = 100


@dsl.component(base_image="python:3.11", packages_to_install=REQUIREMENTS)
def generate_prices(days: int, seed: int, prices: Output[Dataset]) -> None:
    """Write `days` business days of prices in dollars, from 3 January 2022 on, as CSV."""
    import numpy as np

    shocks = np.random.default_rng(seed).normal(0, 0.01, days)
    log = np.zeros(days)
    for day in range(8, days):
        momentum = 0.35 * (log[day - 1] - log[day - 2])
        weekly = 0.4 * (log[day - 7] - log[day - 8])
        log[day] = 0.98 * log[day - 1] + momentum + weekly + shocks[day]
    dates = np.busday_offset("2022-01-03", np.arange(days))
    with open(prices.path, "w", encoding="utf-8") as file:
        file.write("date,price\n")
        file.writelines(f"{date},{80 * np.exp(value):.2f}\n" for date, value in zip(dates, log, strict=True))


@dsl.component(base_image="python:3.11", packages_to_install=REQUIREMENTS)
def train_model(
    kind: str,
    window: int,
    held_out: int,
    prices: Input[Dataset],
    model: Output[Model],
    metrics: Output[Metrics],
) -> None:
    """Fit one configuration: a return is learned from the `window` returns before it."""
    import joblib
    import numpy as np
    from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
    from sklearn.linear_model import Ridge

    regressors = {
        "ridge": Ridge(alpha=0.001),
        "random-forest": RandomForestRegressor(n_estimators=50, min_samples_leaf=5, random_state=0),
        "gradient-boosting": GradientBoostingRegressor(max_depth=2, learning_rate=0.05, random_state=0),
    }
    regressor = regressors[kind]
    price = np.loadtxt(prices.path, delimiter=",", skiprows=1, usecols=1)[:-held_out]
    returns = np.diff(np.log(price))
    lags = np.lib.stride_tricks.sliding_window_view(returns, window)[:-1]
    regressor.fit(lags[:-held_out], returns[window:-held_out])
    predicted = price[-held_out - 1 : -1] * np.exp(regressor.predict(lags[-held_out:]))
    error = float(np.abs(predicted - price[-held_out:]).mean())
    print(f"{kind}, {window} days: mean absolute error {error:.4f}")

    joblib.dump(regressor, model.path)
    model.metadata.update({"kind": kind, "window": window, "validation_error": error})
    metrics.log_metric("validation_error", error)


@dsl.component(base_image="python:3.11")
def pick_best(
    models: Input[list[Model]],
    best: Output[Model],
    leaderboard: Output[Markdown],
) -> NamedTuple("Outputs", [("kind", str), ("window", int)]):
    """Copy the model with the smallest validation error, and rank all of them."""
    import shutil

    ranked = sorted(models, key=lambda model: model.metadata["validation_error"])
    lines = ["| model | window (days) | validation error ($) |", "|---|---|---|"]
    for model in ranked:
        facts = model.metadata
        lines.append(f"| {facts['kind']} | {int(facts['window'])} | {facts['validation_error']:.4f} |")
    print("\n".join(lines))
    with open(leaderboard.path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")

    shutil.copyfile(ranked[0].path, best.path)
    facts = ranked[0].metadata
    kind, window = facts["kind"], int(facts["window"])
    best.metadata.update({"kind": kind, "window": window, "validation_error": facts["validation_error"]})
    return (kind, window)


@dsl.component(base_image="python:3.11", packages_to_install=REQUIREMENTS)
def forecast_prices(
    model: Input[Model],
    window: int,
    held_out: int,
    horizon: int,
    prices: Input[Dataset],
    forecast: Output[Dataset],
    metrics: Output[Metrics],
) -> NamedTuple("Outputs", [("test_error", float), ("naive_error", float)]):
    """Test the winner on the last `held_out` days, then fit it to all days and roll it forward."""
    import joblib
    import numpy as np

    regressor = joblib.load(model.path)
    price = np.loadtxt(prices.path, delimiter=",", skiprows=1, usecols=1)
    last_date = np.loadtxt(prices.path, delimiter=",", skiprows=1, usecols=0, dtype="datetime64[D]")[-1]
    returns = np.diff(np.log(price))
    lags = np.lib.stride_tricks.sliding_window_view(returns, window)[:-1]

    regressor.fit(lags[:-held_out], returns[window:-held_out])
    yesterday, today = price[-held_out - 1 : -1], price[-held_out:]
    test_error = float(np.abs(yesterday * np.exp(regressor.predict(lags[-held_out:])) - today).mean())
    naive_error = float(np.abs(yesterday - today).mean())
    metrics.log_metric("test_error", test_error)
    metrics.log_metric("naive_error", naive_error)
    print(f"mean absolute error {test_error:.4f}, tomorrow as today {naive_error:.4f}")

    regressor.fit(lags, returns[window:])
    recent, value = list(returns[-window:]), price[-1]
    with open(forecast.path, "w", encoding="utf-8") as file:
        file.write("date,price\n")
        for step in range(1, horizon + 1):
            recent.append(float(regressor.predict([recent[-window:]])[0]))
            value *= np.exp(recent[-1])
            file.write(f"{np.busday_offset(last_date, step)},{value:.2f}\n")
    forecast.metadata["days"] = horizon
    return (test_error, naive_error)


class Outputs(NamedTuple):
    kind: str
    window: int
    test_error: float
    naive_error: float
    forecast: Dataset


@dsl.pipeline(
    name="commodity-forecast",
    description="Sweep models and window lengths over commodity prices; forecast with the best of them.",
)
def commodity_forecast(
    days: int = 1000,
    horizon: int = 20,
    seed: int = 42,
) -> Outputs:
    prices = generate_prices(days=days, seed=seed).output
    with dsl.ParallelFor(items=KINDS) as kind, dsl.ParallelFor(items=WINDOWS) as window:
        training = train_model(kind=kind, window=window, held_out=HELD_OUT, prices=prices)
    best = pick_best(models=dsl.Collected(training.outputs["model"]))
    forecasting = forecast_prices(
        model=best.outputs["best"],
        window=best.outputs["window"],
        held_out=HELD_OUT,
        horizon=horizon,
        prices=prices,
    )
    return Outputs(
        kind=best.outputs["kind"],
        window=best.outputs["window"],
        test_error=forecasting.outputs["test_error"],
        naive_error=forecasting.outputs["naive_error"],
        forecast=forecasting.outputs["forecast"],
    )


if __name__ == "__main__":
    compiler.Compiler().compile(commodity_forecast, package_path=__file__.replace(".py", ".yaml"))
