"""The extra `onnx`: a labeler is exported, and labels as before where torch cannot be imported."""

import json
import subprocess
import sys
from pathlib import Path

from lookboth import Labeler

TEXT = "Ada Lovelace lived in London."
WITHOUT_TORCH = """
import json, sys
sys.modules |= dict.fromkeys(("torch", "transformers", "peft", "pydantic"))
from lookboth.onnx import OnnxLabeler
print(json.dumps(OnnxLabeler.from_pretrained("exported").predict(sys.argv[1])[0].to_dict()))
"""

command = Path(sys.executable).parent / "lookboth"
Path("data.conll").write_text("Ada\tO\nslept\tO\n", encoding="utf-8")
subprocess.run([command, "export", sys.argv[1], "exported", "--data", "data.conll"], check=True)
done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, TEXT], capture_output=True, text=True, check=True)
in_torch = Labeler.from_pretrained(sys.argv[1], device="cpu", precision="fp32").predict(TEXT)[0].to_dict()
exported = json.loads(done.stdout)
scores = [[span.pop("score") for span in found["spans"]] for found in (exported, in_torch)]
assert exported == in_torch
assert all(abs(a - b) < 1e-3 for a, b in zip(*scores, strict=True))
