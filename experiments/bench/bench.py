"""Speed of training and prediction beside the usual ways, in one run: python experiments/bench/bench.py"""

import argparse
from pathlib import Path
from typing import Any

import prediction
import torch
import training
from alternate import alternate, matmul_limit, write_result

from lookboth.models.loading import load_backbone, load_config
from lookboth.quiet import quiet_libraries

MODEL = "smollm2-135m"
PASSES = {
    "training": 2,
    "prediction": 1,
}  # products of a step in those of a forward pass: LoRA goes back once
RESULTS = Path(__file__).parent.parent / "results" / "bench"


def main() -> None:
    """Parse options, run both tables, print them and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--sentences", type=int, default=192, help="sentences in one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    quiet_libraries()
    tables: dict[str, Any] = {}
    for name, module, source in (("training", training, MODEL), ("prediction", prediction, None)):
        print(f"\n{name}")
        tables[name] = alternate(
            module.sides(source, options.sentences, options.device), rounds=options.rounds
        )
        print(_table(tables[name]))
    tables["limit"] = _limit(options.device)
    for name, passes in PASSES.items():
        for row in tables[name]:
            if limit := tables["limit"].get(row["side"].removeprefix("lookboth ")):
                row["share_of_limit"] = round(passes * row["tokens_per_second"] / limit, 2)
                print(
                    f"{name}, {row['side']}: {100 * row['share_of_limit']:.0f} % of what the products allow"
                )
    print(f"\nbare matrix products, tokens a second forward: {tables['limit']}")
    work = f"{MODEL}, LoRA r 16 on q and v, {options.sentences} WNUT-17 sentences a round, {options.device}"
    out = options.out or RESULTS / f"{options.device}.json"
    write_result(out, work=work, tables=tables)
    print(f"written: {out}")


def _limit(device: str) -> dict[str, float]:
    """Return how many tokens a second the model's matrix products alone allow, forward, by arithmetic."""
    backbone = load_backbone(MODEL, precision="fp32")
    shapes = [(m.in_features, m.out_features) for m in backbone.modules() if isinstance(m, torch.nn.Linear)]
    assert load_config(MODEL).num_hidden_layers == len(backbone.layers)
    tokens = 1024
    return {
        name: round(tokens / matmul_limit(shapes, tokens, dtype, device))
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))
    }


def _table(rows: list[dict[str, Any]]) -> str:
    width = max(len(row["side"]) for row in rows)
    lines = [
        f"{row['side']:{width}}  {row['words_per_second']:9.1f} words/s  {row['ratio']:6.2f}x" for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
