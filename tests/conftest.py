"""What every test stands on: shapes and types checked at run time, one thread, a pinned hypothesis profile."""

from __future__ import annotations

import warnings
from pathlib import Path

import hypothesis
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import torch
    from jaxtyping import install_import_hook

install_import_hook("limbeck", "beartype.beartype")
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
for profile, examples in {"limbeck": 15, "limbeck-long": 60}.items():
    hypothesis.settings.register_profile(
        profile,
        max_examples=examples,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
hypothesis.settings.load_profile(
    "limbeck"
)  # --hypothesis-profile=limbeck-long, in make test-all, takes its place


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a cache of its own, so that none sees another's target stores."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("LIMBECK_CACHE", str(cache))
    return cache
