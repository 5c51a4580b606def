"""Training: one experiment on one fold, resumed exactly.

`engine.py` runs epochs, `trainer.py` steps, `methods/` teach; `photos.py` says what a fold's model may see, `state.py`
is what changes, `run_folder.py` the folder it lives in, `distributed.py` the device and fellow processes, `guards.py`
says when it has gone wrong.
"""

from kit.learning.training.distributed import DistributedContext, processes_on, started_by_torchrun
from kit.learning.training.engine import Options, check_buildable, train_fold
from kit.learning.training.optim import learning_rate
from kit.learning.training.photos import training_photos, validation_inputs
from kit.learning.training.run_folder import Run, load_generator
from kit.learning.training.state import State, new_state
from kit.pretrained.devices import device_named

__all__ = [
    "DistributedContext",
    "Options",
    "Run",
    "State",
    "check_buildable",
    "device_named",
    "learning_rate",
    "load_generator",
    "new_state",
    "processes_on",
    "started_by_torchrun",
    "train_fold",
    "training_photos",
    "validation_inputs",
]
