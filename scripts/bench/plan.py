"""What a competition of any size takes, counted: bytes that are read, stored and sent, operations, machines, days.

    python scripts/bench/plan.py                                        # 1,000,000 photos of 512x512, 50 members
    python scripts/bench/plan.py --photos 9240 --side 256 --members 8 --hidden 0.17

Nothing is measured here: bytes follow from the formats (docs/DESIGN.md), operations of a network are counted by torch.
Speeds are assumptions, printed with the result, and options.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

REGIONS = 15  # five rings, three channels
ROW = 210  # bytes of a photo in index.csv, and about five times that in memory
CSV_ROW = 29  # bytes of one value in a submission of the first competition's form


@dataclass(frozen=True)
class Plan:
    """A competition and the machines for it."""

    photos: int
    side: int
    members: int
    hidden: float
    test: float
    trained: int
    epochs: int
    flops: float
    gpus: int
    gpu_flops: float
    disk: float

    @property
    def train_photos(self) -> int:
        return round(self.photos * (1 - self.test))

    @property
    def test_photos(self) -> int:
        return self.photos - self.train_photos

    @property
    def pixels(self) -> int:
        return self.side**2

    @property
    def scored(self) -> int:
        return round(self.pixels * self.hidden)

    def bytes_of(self) -> dict[str, float]:
        """Return what lies on disk."""
        source = 6 * self.scored * self.photos  # float16, three channels
        gram = 8 * self.train_photos * self.members**2
        return {
            "photos as JPEG, read once": 0.25 * self.pixels * self.photos,
            "index.csv": ROW * self.photos,
            "pack: hidden and whole training photos, test photos": 3
            * self.pixels
            * (2 * self.train_photos + self.test_photos),
            "one source's predictions": source,
            "predictions of all members": source * self.members,
            "Gram by photo": gram,
            "Gram by photo and region": gram * REGIONS,
            "submission, a CSV row a value": CSV_ROW * 3 * self.scored * self.test_photos,
            "submission, a zip of PNG": 1.5 * self.pixels * self.test_photos,
        }

    def memory_of(self) -> dict[str, float]:
        """Return what one process holds at once."""
        return {
            "index (PhotoRow)": 5 * ROW * self.photos,
            "kit folds: thumbnails and greys": (4096 + 2 * 1024) * self.train_photos,
            "kit folds: vectors in cells, at most": min(2 << 30, 61 * 70 * self.train_photos),
            "kit blend: Gram by photo": 8 * self.train_photos * self.members**2,
            "training: a batch's photos alone (the pack is mapped)": 64 * 6 * self.pixels,
        }

    def operations_of(self) -> dict[str, float]:
        """Return floating point operations."""
        passes = self.epochs * self.train_photos * self.trained  # five folds see four fifths each: four photos' passes
        return {
            "training of all members, five folds": 4 * passes * self.flops,
            "predictions of all members": 2 * self.photos * self.trained * self.flops / 3,
            "Gram pass": 3 * 2 * self.scored * self.train_photos * self.members**2 / 2,
        }


def counted(name: str, photo_size: int) -> float:
    """Return the floating point operations of an experiment's network for one photo, forward and backward."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from kit.learning.experiments import EXPERIMENTS
    from kit.learning.models import build_generator

    experiment = replace(EXPERIMENTS[name](), encoder_weights="none", size=photo_size)
    network = build_generator(experiment)
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 6, photo_size, photo_size)).sum().backward()
    return float(counter.get_total_flops())


def size(count: float) -> str:
    """Return bytes for people, of 1000."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:,.3g} {unit}"
        count /= 1000
    raise AssertionError


def shown(plan: Plan) -> str:
    """Return the plan as tables."""
    lines = [
        f"{plan.photos:,} photos of {plan.side}x{plan.side} ({plan.test:.0%} of them test photos), "
        f"{plan.hidden:.0%} hidden, {plan.members} members, {plan.trained} of them trained",
        "",
        "| on disk | bytes | |\n| --- | --- | --- |",
    ]
    for name, count in plan.bytes_of().items():
        lines.append(f"| {name} | {size(count)} | {count / plan.disk / 3600:,.2g} h to read |")
    lines += ["", "| in memory | bytes |\n| --- | --- |"]
    lines += [f"| {name} | {size(count)} |" for name, count in plan.memory_of().items()]
    lines += ["", "| operations | FLOP | |\n| --- | --- | --- |"]
    for name, count in plan.operations_of().items():
        days = count / (plan.gpus * plan.gpu_flops) / 86400
        lines.append(f"| {name} | {count:.2g} | {days:,.3g} days of {plan.gpus} GPUs |")
    lines += [
        "",
        f"Assumed: {plan.disk / 1e9:g} GB/s from disk, {plan.gpu_flops / 1e12:g} TFLOP/s of each GPU, "
        f"{plan.flops / 1e9:.3g} GFLOP a photo and step (forward and backward), {plan.epochs} epochs.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Parse and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--photos", type=int, default=1_000_000)
    add("--side", type=int, default=512)
    add("--members", type=int, default=50)
    add("--hidden", type=float, default=0.17, help="share of a photo, a pixel in two boxes twice")
    add("--test", type=float, default=0.1, help="share of the photos")
    add("--trained", type=int, help="members that are networks; default: all but five")
    add("--epochs", type=int, default=40)
    add("--experiment", default="regress-imagenet", help="whose network is counted")
    add("--size", type=int, default=256, help="at which it is trained")
    add("--flops", type=float, help="of a photo and step, instead")
    add("--gpus", type=int, default=32)
    add("--gpu-flops", type=float, default=100e12, help="of each, as reached")
    add("--disk", type=float, default=2e9, help="bytes a second")
    given = vars(parser.parse_args())
    given["trained"] = given["members"] - 5 if given["trained"] is None else given["trained"]
    experiment, photo_size = given.pop("experiment"), given.pop("size")
    given["flops"] = given["flops"] or counted(experiment, photo_size)
    print(shown(Plan(**given)))


if __name__ == "__main__":
    main()
