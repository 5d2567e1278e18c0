"""transformers knows saved labelers after one import, in whichever order; `import lookboth` alone changes nothing."""

import subprocess
import sys

ORDERS = {
    "transformers first": "from transformers import AutoConfig; import lookboth.integrations.transformers",
    "the integration first": "import lookboth.integrations.transformers",
    "after saving": "import lookboth.labelers.saving; import lookboth.integrations.transformers",
}
CHECK = """
from transformers import AutoConfig, AutoModelForTokenClassification
from lookboth.integrations.transformers import LookbothConfig
assert type(AutoConfig.for_model("lookboth")) is LookbothConfig
assert LookbothConfig in AutoModelForTokenClassification._model_mapping
"""
LIGHT = """
import sys
before = list(sys.meta_path)
import lookboth
assert sys.meta_path == before
assert not {"torch", "transformers", "numpy", "pydantic"} & set(sys.modules)
"""


def test_any_import_order_registers():
    runs = {
        order: subprocess.Popen([sys.executable, "-c", code + CHECK], stderr=subprocess.PIPE, text=True)
        for order, code in ORDERS.items()
    }
    failed = {order: err for order, run in runs.items() if (err := run.communicate()[1]) and run.returncode}
    assert not failed


def test_importing_lookboth_is_light_and_leaves_the_import_system_alone():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
