"""How far answers are from each other: pure functions, one number per unit, never reduced."""

from limbeck.losses.classification import cross_entropy as cross_entropy
from limbeck.losses.divergence import forward_kl as forward_kl
from limbeck.losses.probability import log_probs as log_probs
