"""From the text of a job file to the objects that are the same job, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ._parts import Column, Derived, Features, Kind, Links, Lookup, Seam, Sink, Source, State, Table, View, Window
from ._places import Place
from ._toml import Text, key

#: Keys that are sections of their own, so that what they hold stands line by line.
_SECTIONS = ("schema", "lookup", "columns", "derived")
#: Those of a job that have fields.
_KEYS = (
    *("name", "tick", "stall_limit", "idle_limit", "features_file"),
    *("sources", "tables", "features", "views", "links", "sinks", "dead_letters", "serve_log", "state"),
)


def parts_of(root: Mapping[str, Any]) -> dict[str, Any]:
    """What a `Job` is made of."""
    made = dict(root)
    made["sources"] = [_source(name, of, Source) for name, of in made.pop("sources", {}).items()]
    made["tables"] = [_source(name, of, Table) for name, of in made.pop("tables", {}).items()]
    made["features"] = [_features(name, of) for name, of in made.pop("features", {}).items()]
    made["views"] = [View(name, **_known(View, of)) for name, of in made.pop("views", {}).items()]
    made["links"] = [_links(name, of) for name, of in made.pop("links", {}).items()]
    made["sinks"] = [_sink(name, of) for name, of in made.pop("sinks", {}).items()]
    if "state" in made:
        made["state"] = State(**_known(State, made["state"]))
    if "dead_letters" in made:
        made["dead_letters"] = _kind(made["dead_letters"])
    extra = {name: made.pop(name) for name in list(made) if name not in _KEYS}
    return made | {"extra": extra}


def _known(part: type, keys: Mapping[str, Any]) -> dict[str, Any]:
    """Keys that have fields; the others as `extra`."""
    names = {known.name for known in fields(part) if known.init and known.name not in ("name", "extra")}
    extra = {name: of for name, of in keys.items() if name not in names}
    return {name: of for name, of in keys.items() if name in names} | ({"extra": extra} if extra else {})


def _kind(keys: Mapping[str, Any]) -> Kind:
    rest = dict(keys)
    return Kind(rest.pop("type", None), rest)


def _source(name: str, keys: Mapping[str, Any], kind: type) -> Any:
    made = _known(kind, keys)
    for side in ("history", "stream"):
        if side in made:
            made[side] = _kind(made[side])
    if "seam" in made:
        made["seam"] = Seam(**_known(Seam, made["seam"]))
    return kind(name, **made)


def _features(name: str, keys: Mapping[str, Any]) -> Features:
    made = _known(Features, keys)
    if "window" in made:
        made["window"] = Window(**_known(Window, made["window"]))
    if "lookup" in made:
        made["lookup"] = {name: Lookup(**_known(Lookup, of)) for name, of in made["lookup"].items()}
    if "columns" in made:
        made["columns"] = {column: Column(**_known(Column, of)) for column, of in made["columns"].items()}
    if "derived" in made:
        parts = {column: Derived(**_known(Derived, of)) if isinstance(of, Mapping) else of for column, of in made["derived"].items()}
        made["derived"] = parts
    return Features(name, **made)


def _links(name: str, keys: Mapping[str, Any]) -> Links:
    made = _known(Links, {"from_" if key == "from" else key: of for key, of in keys.items()})
    return Links(name, **made)


def _sink(name: str, keys: Mapping[str, Any]) -> Sink:
    rest = dict(keys)
    features = rest.pop("features", None)
    return Sink(name, _kind(rest), features)


def write(text: Text, path: str, keys: Mapping[str, Any], place: Place | None) -> None:
    """A section, and behind it those that stand on their own."""
    text.table(path, place)
    own = {name: of for name, of in keys.items() if name in _SECTIONS and isinstance(of, Mapping)}
    for name, of in keys.items():
        if name not in own:
            text.key(path, name, of, place)
    for name, of in own.items():
        write(text, f"{path}.{key(name)}", of, place)
