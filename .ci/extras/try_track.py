"""The extra `track`: both trackers are there."""

from torch.utils.tensorboard import SummaryWriter

from lookboth.training.trainer import _check_tracker

for name in ("tensorboard", "wandb"):
    _check_tracker(name)
with SummaryWriter("logs") as writer:
    writer.add_scalar("loss", 1.0, 0)
