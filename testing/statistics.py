"""Records in statistics.json what packages of PyPI say about votes made here, for the tests of shared/statistics/.

    python3 -m venv /tmp/statistics-venv
    /tmp/statistics-venv/bin/pip install krippendorff==0.9.0 scikit-learn==1.9.1 statsmodels==0.15.0 \
        arena-rank==0.1.1 evalica==0.4.2
    /tmp/statistics-venv/bin/python testing/statistics.py
    npm run format
"""

import json
import math
import pathlib
import random

import evalica
import jax.numpy as jnp
import krippendorff
import numpy as np
import pandas as pd
import statsmodels.api as sm
from arena_rank.models.bradley_terry import BradleyTerry
from arena_rank.models.contextual_bradley_terry import ContextualBradleyTerry
from arena_rank.utils.data_utils import ContextualPairDataset, PairDataset
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.sandwich_covariance import cov_cluster_2groups

draw = random.Random(16)


def alpha(table, level):
    """`table`: a row for each rater, with null where the rater gave no value."""
    reliability = [[np.nan if value is None else value for value in row] for row in table]
    return krippendorff.alpha(reliability_data=reliability, level_of_measurement=level)


def make_table(raters, items, levels, missing, noise):
    truth = [draw.randrange(levels) for _ in range(items)]

    def rate(item):
        if draw.random() < missing:
            return None
        return draw.randrange(levels) if draw.random() < noise else truth[item]

    return [[rate(item) for item in range(items)] for _ in range(raters)]


tables = [make_table(4, 12, 4, 0.1, 0.2), make_table(3, 40, 4, 0, 0.3)]
tables += [make_table(12, 80, 7, 0.6, 0.5), make_table(6, 30, 4, 0.3, 1)]
agreement = [{"table": table, **{level: alpha(table, level) for level in ("nominal", "ordinal")}} for table in tables]

CHOICES = ["a", "b", "tie", "both_bad"]
kappas = []
for noise, size in ((0.1, 25), (0.4, 60), (1, 40)):
    expected = [draw.choice(CHOICES) for _ in range(size)]
    given = [draw.choice(CHOICES) if draw.random() < noise else choice for choice in expected]
    kappas.append({"given": given, "expected": expected, "kappa": cohen_kappa_score(given, expected)})

# Votes of raters on prompts: [model a, model b, outcome for a, rater, prompt, feature 1, feature 2]
STRENGTHS = [0.0, 0.4, 0.9, -0.3, 0.6]
RATERS, PROMPTS, FEATURES = 30, 45, 2
COEFFICIENTS = [0.5, -0.2]
taste = [draw.gauss(0, 0.5) for _ in range(RATERS)]
votes = []
for _ in range(900):
    rater, prompt = draw.randrange(RATERS), draw.randrange(PROMPTS)
    a, b = draw.sample(range(len(STRENGTHS)), 2)
    features = [round(draw.uniform(-1, 1), 3) for _ in range(FEATURES)]
    odds = STRENGTHS[a] - STRENGTHS[b] + taste[rater] * (a - b) / 3
    odds += sum(c * x for c, x in zip(COEFFICIENTS, features))
    share = 1 / (1 + math.exp(-odds))
    outcome = 0.5 if draw.random() < 0.2 else float(draw.random() < share)
    votes.append([a, b, outcome, rater, prompt, *features])

COLUMNS = ["model_a", "model_b", "outcome", "rater", "prompt", "x1", "x2"]
# Changes nothing above 1e-7; without it the Hessian is singular, and with less of it rounding errors grow.
HESSIAN_REG = 1e-7
# Ratings as log-odds.
UNSCALED = {"scale": 1.0, "base": math.e, "init_rating": 0.0, "ftol": 0.0, "gtol": 1e-13, "hessian_reg": HESSIAN_REG}
OUTCOMES = {"outcome_col": "outcome", "outcome_map": lambda outcome: outcome, "reweighted": False}


def rate_in_arena_rank(frame):
    dataset = PairDataset.from_pandas(frame, **OUTCOMES)
    result = BradleyTerry(len(STRENGTHS), **UNSCALED).compute_ratings_and_cis(dataset)
    return {key: np.asarray(result[key]).tolist() for key in ("ratings", "variances")}


def control_in_arena_rank(frame):
    dataset = ContextualPairDataset.from_pandas(frame, ["x1", "x2"], normalize_features=False, **OUTCOMES)
    model = ContextualBradleyTerry(len(STRENGTHS), FEATURES, reg=0.0, **UNSCALED)
    result = model.compute_ratings_and_cis(dataset)
    return {key: np.asarray(result[key]).tolist() for key in ("ratings", "coeffs", "variances")}


def rate_in_evalica(frame):
    winner = {1.0: evalica.Winner.X, 0.0: evalica.Winner.Y, 0.5: evalica.Winner.Draw}
    result = evalica.bradley_terry(
        frame["model_a"].tolist(),
        frame["model_b"].tolist(),
        [winner[outcome] for outcome in frame["outcome"]],
        tolerance=1e-15,
        limit=100_000,
    )
    return np.log(result.scores.sort_index()).tolist()


def cluster_in_statsmodels(frame, names):
    """The covariance with the first model at 0, clustered by rater and prompt."""
    design = np.zeros((len(frame), len(STRENGTHS)))
    design[np.arange(len(frame)), frame["model_a"]] = 1
    design[np.arange(len(frame)), frame["model_b"]] = -1
    design = np.hstack([design[:, 1:], frame[names].to_numpy()])
    fitted = sm.GLM(frame["outcome"], design, family=sm.families.Binomial()).fit(tol=1e-14, maxiter=100)
    both, _, _ = cov_cluster_2groups(fitted, frame["rater"].to_numpy(), frame["prompt"].to_numpy(), use_correction=False)
    return {"parameters": np.asarray(fitted.params).tolist(), "covariance": both.tolist()}


frame = pd.DataFrame(votes, columns=COLUMNS)
strict = frame[frame["outcome"] != 0.5]
ratings = {
    ties: {
        "arena_rank": rate_in_arena_rank(rows),
        "arena_rank_controlled": control_in_arena_rank(rows),
        "evalica": rate_in_evalica(rows),
        "statsmodels": cluster_in_statsmodels(rows, []),
        "statsmodels_controlled": cluster_in_statsmodels(rows, ["x1", "x2"]),
    }
    for ties, rows in (("half", frame), ("dropped", strict))
}

target = pathlib.Path(__file__).with_suffix(".json")
target.write_text(json.dumps({"agreement": agreement, "kappas": kappas, "votes": votes, "ratings": ratings}))
