"""Blends on disk: `blends/<name>.json`, which says all there is to say. Same inputs: same name, same bytes."""

from __future__ import annotations

import json
import types
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from kit.blending.result import Blend
from kit.blending.weights.mixing import checked_model
from kit.core.storage import digest_of, read_json, to_json, write_json
from kit.core.workspace import Workspace
from kit.errors import DamagedStore, Mismatch, MissingStep, UnknownName
from kit.imaging.metrics import RMSE


def write_blend(workspace: Workspace, blend: Blend) -> None:
    """Write `blends/<name>.json`, whole or not at all."""
    fields = json.loads(to_json(blend))
    if blend.metric == RMSE.name:
        del fields["metric"]  # such blends have always been without
    write_json(workspace.blend(blend.name), {**fields, "digest": digest_of(fields)})


def read_blend(workspace: Workspace, name: str | None = None) -> Blend:
    """Read one blend, by default the newest of this competition.

    Raises:
        MissingStep: there is none.
        UnknownName: there is none of that name.
        Mismatch: it is another competition's.
        Mismatch: its weights are of a kind that kit no longer has.
        DamagedStore: the file is not a blend.
    """
    paths = sorted(workspace.blends.glob("*.json"), key=lambda path: (-path.stat().st_mtime_ns, path.name))
    if name is not None:
        path = workspace.blend(name)
        if path not in paths:
            raise UnknownName("blend", name, [other.stem for other in paths])
        blend = _parse(path)
        if blend.competition != workspace.slug:
            raise Mismatch(f"{path} is a blend for {blend.competition}. Add: --competition {blend.competition}")
        return blend
    for path in paths:
        blend = _parse(path)
        if blend.competition == workspace.slug:
            return blend
    raise MissingStep(f"There is no blend for {workspace.slug} in {workspace.blends}. Run: kit blend")


def _parse(path: Path) -> Blend:
    found = read_json(path, made_by="kit blend")
    try:
        is_whole = found.pop("digest", None) == digest_of(found)
        if is_whole:
            _refuse_retired(path, found)
        found.pop("extremes", None)
        found.setdefault("metric", RMSE.name)
        blend: Blend = _build(Blend, found)
        if not is_whole or blend.name != path.stem:
            raise ValueError("it was changed, copied or renamed after kit wrote it")
        weights = list(blend.weights.values())
        if not abs(sum(weights) - 1.0) < 1e-6:
            raise ValueError(f"weights {weights} do not sum to one")
        checked_model(blend.recipe, len(blend.members))
        return blend
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DamagedStore(
            f"{path} is not a blend that kit wrote, or an older kit did ({error}). Delete it: kit rm {path.stem}, then "
            "kit blend"
        ) from None


def _refuse_retired(path: Path, found: dict[str, Any]) -> None:
    """Raise for what kit could once fit and can no longer apply, because measurements showed no gain."""
    rule = found.get("extremes") or {}
    retired = "rung bands" if found["recipe"]["domain"] == "frequencies" else ""
    if rule.get("beyond") or rule.get("room"):
        retired = retired or "a fitted rule for the extremes of test photos"
    if retired:
        members = " ".join(member["name"] for member in found["members"])
        raise Mismatch(
            f"{path} was made with {retired}, which kit no longer has. Make the blend again: kit blend {members} "
            f"--name {path.stem}"
        )


def _build(kind: Any, value: object) -> Any:
    """Build what the JSON of nested frozen dataclasses was; strict about names and types.

    Args:
        kind: a type as an annotation writes it, unions and tuples included; Python has no type for those.
    """
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        names = [field.name for field in fields(kind)]
        what = getattr(kind, "__name__", kind)
        if not isinstance(value, dict):
            raise ValueError(f"{str(value)[:60]} is no {what}")
        wrong = [f"{name} is missing" for name in names if name not in value]
        wrong += [f"{name} is unknown" for name in value if name not in names]
        if wrong:
            raise ValueError(f"{what}: {', '.join(wrong[:3])}{' ...' if len(wrong) > 3 else ''}")
        return kind(**{name: _build(hints[name], value[name]) for name in names})  # type: ignore[operator]
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        chosen = next(one for one in inner if one is not type(None))
        return None if value is None else _build(chosen, value)
    if origin is tuple:
        if not isinstance(value, list):
            raise TypeError(f"a list is missing where {str(value)[:60]} stands")
        if len(inner) == 2 and inner[1] is Ellipsis:
            return tuple(_build(inner[0], one) for one in value)
        return tuple(_build(one, part) for one, part in zip(inner, value, strict=True))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise TypeError(f"{str(value)[:60]} where {kind.__name__} should be")
    return value
