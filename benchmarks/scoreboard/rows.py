"""The rows of the scoreboard: each method as its paper trains it, in a recipe's notation.

Weights that a paper gives for a sum over the elements are divided by how many there are in the pairs of the board, so
that they mean the same for the means that Limbeck takes; weights that belong to a loss without the square of the
temperature are divided by it. Widths and counts that were chosen for larger models and data are those of the board's
(``review``, ``contrastive-bank``). What a paper adds (cross-entropy, a warm-up) is added here too.
"""

from __future__ import annotations

from typing import Any, Final

Notation = dict[str, Any]

TRIALS: Final = (1.0, 0.25, 4.0)
"""What the distillation terms of a row are multiplied by: the published weight first, then the tuning choices."""

CE: Final[Notation] = {"ce": {}}

CONTROLS: Final[dict[str, Notation]] = {
    "no-teacher": CE,
    "label-smoothing": {"ce": {"label_smoothing": 0.1}},
}
"""What needs no teacher; the verdicts are against the first."""

ROWS: Final[dict[str, Notation]] = {
    "kd": {"kd": {"temperature": 4, "weight": 0.9}, "ce": {"weight": 0.1}},
    "kd-1": {"kd": {"temperature": 1}, **CE},
    "pseudo-label": {"pseudo-label": {}, **CE},
    "logit-mse": {"logit-mse": {"weight": 0.5}, **CE},
    "decoupled-kd": {
        "warm-up": {"steps": 50, "of": {"decoupled-kd": {"temperature": 4, "non_target_weight": 8}}},
        **CE,
    },
    "normalised-kd": {"normalised-kd": {}, **CE},
    "correlation": {"correlation": {"temperature": 4, "weight": 2}, **CE},
    "standardise": {
        "standardise": {"of": {"kd": {"temperature": 2}}, "weight": 9},
        "ce": {"weight": 0.1},
    },
    "reverse-kl": {"reverse-kl": {"temperature": 4}, **CE},
    "jensen-shannon": {"jensen-shannon": {"temperature": 4}, **CE},
    "total-variation": {"total-variation": {"temperature": 4}, **CE},
    "skew-kl": {"skew-kl": {"temperature": 4}, **CE},
    "skew-reverse-kl": {"skew-reverse-kl": {"temperature": 4}, **CE},
    "alpha-beta": {"alpha-beta": {"temperature": 4, "weight": 2}, **CE},
    "adaptive-kl": {"adaptive-kl": {"temperature": 4}, **CE},
    "top-k": {"top-k": {"k": 3}, **CE},
    "sampled": {"sampled": {}, **CE},
    "multi-label": {"multi-label": {"temperature": 4}, **CE},
    "ordinal": {"ordinal": {"temperature": 1}, **CE},
    "learned-temperature": {"learned-temperature": {"of": {"kd": {"temperature": 1}}}, **CE},
    "sample-weights": {"sample-weights": {"of": {"kd": {"temperature": 4}}}, **CE},
    "wsld": {"wsld": {"of": {"kd": {"temperature": 2}}, "weight": 2.5}, **CE},
    "balance": {"balance": {"of": {"ce": {}, "kd": {"temperature": 4}, "hint": {}}}},
    "hint": {"hint": {"normalise": "none", "weight": 100, "pairs": "last"}, **CE},
    "hint-normalised": {"hint": {}, **CE},
    "orthogonal": {
        "hint": {"connector": "orthogonal", "pairs": "penultimate"},
        "kd": {"temperature": 1},
        **CE,
    },
    "hidden-cosine": {"hidden-cosine": {}, "kd": {"temperature": 2, "weight": 5}, "ce": {"weight": 2}},
    "patient": {"patient": {"weight": 100}, **CE},
    "attention-transfer": {"attention-transfer": {"weight": 1000}, **CE},
    "channels": {"channels": {"weight": 3}, **CE},
    "selectivity": {"selectivity": {"weight": 50}, **CE},
    "variational": {"variational": {}, **CE},
    "overhaul": {"overhaul": {}, **CE},
    "review": {"warm-up": {"steps": 50, "of": {"review": {"weight": 5, "largest_width": 32}}}, **CE},
    "masked": {"masked": {}, **CE},
    "head-regression": {"head-regression": {}, **CE},
    "reuse": {"reuse": {}},
    "token-relations": {"token-relations": {}, **CE},
    "alignment": {"alignment": {}, **CE},
    "channel-correlation": {"channel-correlation": {"weight": 6}, **CE},
    "relational": {"relational": {"weight": 25}, **CE},
    "similarity": {"similarity": {"weight": 3000}, **CE},
    "neighbours": {"neighbours": {"weight": 234}, **CE},
    "congruence": {"congruence": {}, **CE},
    "contrastive": {"contrastive": {"weight": 0.8}, **CE},
    "contrastive-bank": {"contrastive-bank": {"weight": 0.8, "negatives": 1024}, **CE},
    "ema": {"ema": {}, **CE},
    "exits": {"exits": {}, **CE},
    "virtual-teacher": {"virtual-teacher": {}, **CE},
    "past-self": {"past-self": {}},
    "class-pairs": {"class-pairs": {}, **CE},
    "mutual": {"mutual": {}, **CE},
    "online-ensemble": {"online-ensemble": {}, **CE},
    "deit": {"deit": {}, **CE},
}
"""What is compared; those that learn from themselves have no teacher to replace by a random one."""

DOES_NOT_APPLY: Final = {("overhaul", "vit-cnn"): "it compares what batch normalisation hands to a ReLU"}
"""Rows that a pair cannot have, and why."""
