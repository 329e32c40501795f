"""Without the library a callback names the extra to install, and the rest of epsearch works."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "libraries"),
    [("lightning", ["lightning", "pytorch_lightning"]), ("transformers", ["transformers"])],
)
def test_the_extra_is_named(module: str, libraries: list[str]) -> None:
    code = (
        f"import sys\nfor name in {libraries}: sys.modules[name] = None\n"
        "import epsearch\nepsearch.Recorder\n"
        f"try:\n    import epsearch.integrations.{module}\nexcept ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"pip install 'epsearch[{module}]'" in done.stdout
