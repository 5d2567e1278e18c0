"""transformers knows saved labelers in whichever order the two are imported."""

import subprocess
import sys

ORDERS = {
    "transformers first": "from transformers import AutoConfig; import lookboth",
    "the integration first": "import lookboth.integrations.transformers",
    "saving first": "import lookboth.models.saving",
}
CHECK = """
from transformers import AutoConfig, AutoModelForTokenClassification
from lookboth.integrations.transformers import LookbothConfig
assert type(AutoConfig.for_model("lookboth")) is LookbothConfig
assert LookbothConfig in AutoModelForTokenClassification._model_mapping
"""


def test_any_import_order_registers():
    runs = {
        order: subprocess.Popen([sys.executable, "-c", code + CHECK], stderr=subprocess.PIPE, text=True)
        for order, code in ORDERS.items()
    }
    failed = {order: err for order, run in runs.items() if (err := run.communicate()[1]) and run.returncode}
    assert not failed
