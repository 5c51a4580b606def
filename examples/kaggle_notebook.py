# %% [markdown]
# # From the attached competition to `submission.csv`
#
# For a Kaggle notebook without internet. Attach the competition. Attach kit as well: a dataset with its wheel and those
# that Kaggle's image lacks, made where there is a network by `pip download hole-kit -d wheels`, and installed by
#
#     !pip install --no-index --find-links /kaggle/input/kit-wheels hole-kit
#
# The first run trains and leaves `submission.csv` and a workspace. Attach that notebook's output to another notebook
# with this code (`TRAINED`): it predicts whatever test photos are attached there, also the hidden ones of a rerun.

# %%
import os
import subprocess
import sys
from pathlib import Path

INPUT = Path(os.environ.get("KIT_INPUT", "/kaggle/input"))
WORKING = Path(os.environ.get("KIT_WORKING", "/kaggle/working"))
NAMED = [INPUT / "competitions" / "photo-reconstruction", INPUT / "photo-reconstruction"]
COMPETITION = next((folder for folder in NAMED if folder.is_dir()), NAMED[-1])
TRAINED = INPUT / "kit-trained" / "workspace"  # a workspace that this notebook has left before, if there is one
WORKSPACE = WORKING / "workspace"
SUBMISSION = WORKING / "submission.csv"
TRAINING = os.environ.get("KIT_TRAINING", "regress-imagenet --max-minutes 60").split()


def kit(*words: object) -> None:
    """Run one command of kit, and stop the notebook if it fails."""
    subprocess.run([sys.executable, "-m", "kit", *map(str, words)], check=True)


# %% [markdown]
# The photos stay where they are attached; index and pack are written. Every step can be stopped and run again.

# %%
if not TRAINED.is_dir():
    kit("fetch", "-w", WORKSPACE)
    kit("folds", "-w", WORKSPACE)
    kit("fill", "fractional", "harmonic", "-w", WORKSPACE)

# %% [markdown]
# One network a fold, an hour each. ImageNet's weights come with kit; those of other encoders may be an attached dataset
# (`kit weights list`).

# %%
if not TRAINED.is_dir():
    kit("train", *TRAINING, "--fold", "all", "-w", WORKSPACE)
    kit("sources", "-w", WORKSPACE)

# %% [markdown]
# The blend with a score on photos that its weights have not seen, then the checked submission.

# %%
if not TRAINED.is_dir():
    kit("blend", "--name", "notebook", "-w", WORKSPACE)
    kit("upload", "notebook", "--dry-run", "--out", SUBMISSION, "-w", WORKSPACE)

# %% [markdown]
# With an attached workspace nothing is trained: its networks predict the test photos that are attached now, its blend's
# weights mix them. What is attached cannot be written to, so the work goes elsewhere.

# %%
if TRAINED.is_dir():
    kit("predict", "notebook", "--input", COMPETITION, "--out", SUBMISSION, "--work", WORKING / "work", "-w", TRAINED)
