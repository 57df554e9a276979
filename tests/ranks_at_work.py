"""Trains recipes, alone or as one of several processes: `ranks_at_work.py FOLDER STEPS RECIPE.toml...`.

One whose name ends in 64 is trained in float64: the gradient of a bias before a normalisation is rounding alone, which
Adam blows up.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from i2i import recipe
from i2i.compose import compose
from i2i.engine import fit
from i2i.ranks import joined
from i2i.sharding import own
from i2i.train import batches, training_of

if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, steps = Path(sys.argv[1]), int(sys.argv[2])
    with joined("cpu") as (world, device):
        for path in map(Path, sys.argv[3:]):
            pipeline = compose(recipe.read(path, [f"train.steps={steps}"]))
            if exact := path.stem.endswith("64"):
                pipeline.method.double()
            training = training_of(pipeline, torch.device(device), world=world)
            drawn = batches(pipeline, training.device, 0, world)
            made = (batch.map(torch.Tensor.double) for batch in drawn) if exact else drawn
            terms = [world.summed(torch.stack([*report.terms.values()])) for report in fit(training, made)]
            found = {name: value.clone().contiguous() for name, value in training.tensors().items()}
            if world.leads:
                save_file(found | {"terms": torch.stack(terms)}, folder / f"{path.stem}.safetensors")
                weights = [p.detach() for player in training.players.values() for p in player]
                share = sum(own(p).numel() for p in weights) / sum(p.numel() for p in weights)
                (folder / f"{path.stem}.txt").write_text(str(share))
