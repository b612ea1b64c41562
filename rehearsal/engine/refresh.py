"""After a refresh the state tells what the cloud has: what is gone is forgotten, what drifted stands as it is."""

from __future__ import annotations

import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from . import difference
from .deployment import PROVIDER, Deployment
from .drift import settled
from .events import Change, Op
from .handlers import handler_for
from .handlers.base import is_gone
from .state import Resource
from .values import Props, Secret, has_secret, plain

_THREADS = 16
# Tags that AWS itself sets; nobody else may set or remove them.
_RESERVED_TAGS = "aws:"


def refresh(deployment: Deployment, *, alone: bool) -> None:
    """`alone`: the refresh is the run. Else it goes before an update, and what it finds is no change of the run's."""
    managed = [each for each in deployment.state.all() if each.custom and not each.type.startswith(PROVIDER)]
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="refresh") as pool:
        list(pool.map(lambda each: _one(deployment, each, alone=alone), managed))


def _one(deployment: Deployment, resource: Resource, *, alone: bool) -> None:
    started = time.monotonic()
    deployment.display.events.begun(Change(op=Op.REFRESH, old=resource, new=resource))
    try:
        fresh = _refreshed(deployment, resource)
    except Exception as error:
        deployment.failed.set()
        change = Change(op=Op.REFRESH, old=resource)
        deployment.display.fail(change, since=started, message=f"{type(error).__name__}: {error}")
        return
    if fresh is None:
        deployment.state.drop(resource.key)
    elif fresh != resource:
        deployment.state.put(fresh)
    _tell(deployment, _change(resource, fresh), started, alone=alone)


def _change(resource: Resource, fresh: Resource | None) -> Change:
    """Outputs that moved (a version, a capacity) are recorded; only inputs that moved are drift."""
    if fresh is None:
        return Change(op=Op.DELETE, old=resource)
    paths = tuple(difference.changes(resource.plain_inputs, fresh.plain_inputs))
    return Change(op=Op.UPDATE if paths else Op.SAME, old=resource, new=fresh, paths=paths)


def _tell(deployment: Deployment, change: Change, started: float, *, alone: bool) -> None:
    display = deployment.display
    if not alone:
        display.refreshed(change)
    elif change.op is Op.DELETE:
        display.end(change, since=started, detail="gone from the cloud")
    else:
        display.end(change, since=started)


def _refreshed(deployment: Deployment, resource: Resource) -> Resource | None:
    handler = handler_for(resource.type)
    cloud = deployment.cloud(resource.provider, resource.type)
    try:
        outputs = handler.read(cloud, resource.id, resource.plain_inputs)
        current = None if outputs is None else handler.current(cloud, resource.id, resource.plain_inputs)
    except Exception as error:
        if is_gone(error):
            return None
        raise
    if outputs is None or current is None:
        return None
    found = outputs | current
    if handler.tagged and "tagsAll" in found:
        found |= _tags(found["tagsAll"], resource.plain_inputs.get("tags"), cloud.default_tags)
    inputs = _inputs(resource.inputs, found)
    return dataclasses.replace(resource, inputs=inputs, outputs=_outputs(resource, inputs, outputs))


def _tags(found: dict[str, str], given: dict[str, str] | None, defaults: dict[str, str]) -> Props:
    """The provider's default tags stand in `tags` only where the program gives them too, or where they drifted."""
    every = {key: value for key, value in found.items() if not key.startswith(_RESERVED_TAGS)}
    own = {key: value for key, value in every.items() if key in (given or {}) or defaults.get(key) != value}
    return {"tagsAll": every, "tags": own or None if given is None else own}


def _inputs(given: Props, found: Props) -> Props:
    """Inputs that the program left out are left out, but for tags: those are somebody's, never a default of AWS's."""
    values: dict[str, Any] = {
        key: _hidden(value, settled(value, found[key], key)) if key in found else value for key, value in given.items()
    }
    if "tags" not in given and found.get("tags"):
        values["tags"] = found["tags"]
    return {key: value for key, value in values.items() if value is not None}


def _hidden(given: Any, now: Any) -> Any:
    """What stands in a secret's place may be one too, or tell it."""
    return Secret(plain(now)) if has_secret(given) and now != given and now is not None else now


def _outputs(resource: Resource, inputs: Props, read: Props) -> Props:
    hidden = {key for key, value in resource.outputs.items() if isinstance(value, Secret)}
    fresh = {key: value for key, value in read.items() if key not in resource.inputs} | inputs
    gone = resource.inputs.keys() - inputs.keys()
    kept = {key: value for key, value in resource.outputs.items() if key not in gone}
    return kept | {key: Secret(plain(value)) if key in hidden else value for key, value in fresh.items()}
