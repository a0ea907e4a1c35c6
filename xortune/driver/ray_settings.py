"""Ray and Tune, imported as a search wants them: some settings are read at their import.

Whoever imports Ray imports this module first.
"""

from __future__ import annotations

from xortune.driver.process import ray_settings

with ray_settings():
    import ray.tune  # noqa: F401
