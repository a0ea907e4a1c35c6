"""What `xortune-core` has of the pyproject.toml of the whole: all but torch, Numba and Ray."""

import re
import tomllib
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

LEFT_OUT = {"torch", "numba", "ray"}


class Metadata(MetadataHookInterface):
    """Copies the dependencies, the commands and the entry points of the whole package."""

    def update(self, metadata: dict) -> None:
        """Write what pyproject.toml of the whole package says into `metadata`."""
        whole = Path(self.root).parent / "pyproject.toml"
        project = tomllib.loads(whole.read_text(encoding="utf-8"))["project"]
        metadata["dependencies"] = [
            one for one in project["dependencies"] if re.match(r"[\w-]+", one)[0] not in LEFT_OUT
        ]
        readme = (whole.parent / project["readme"]).read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": readme}
        for key in ("scripts", "classifiers", "entry-points"):
            metadata[key] = project[key]
