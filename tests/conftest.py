"""What all tests share: generated examples are the same in every run, and never judged by the clock.

No test asks a model that the person at this machine has configured, or believes what earlier builds have left.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "pxos",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    database=None,
)
settings.load_profile("pxos")

for _name in [name for name in os.environ if name.startswith("PXOS_MODEL")]:
    del os.environ[_name]
os.environ["XDG_CONFIG_HOME"] = "/nonexistent"
os.environ["PXOS_NO_CACHE"] = "1"
