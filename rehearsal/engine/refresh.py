"""After a refresh the state tells what the cloud has: gone resources are forgotten, outputs are read anew."""

from __future__ import annotations

import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor

from .deployment import PROVIDER, Deployment
from .display import Op
from .handlers import handler_for
from .handlers.base import is_gone
from .state import Resource
from .values import Props, Secret, plain

_THREADS = 16


def refresh(deployment: Deployment) -> None:
    managed = [each for each in deployment.state.all() if each.custom and not each.type.startswith(PROVIDER)]
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="refresh") as pool:
        list(pool.map(lambda each: _one(deployment, each), managed))


def _one(deployment: Deployment, resource: Resource) -> None:
    started = time.monotonic()
    try:
        found = _read(deployment, resource)
    except Exception as error:
        deployment.failed.set()
        deployment.display.fail(Op.REFRESH, resource.type, resource.name, since=started, message=str(error))
        return
    if found is None:
        deployment.state.drop(resource.key)
        deployment.display.end(Op.DELETE, resource.type, resource.name, since=started, detail="gone from the cloud")
        return
    fresh = _refreshed(resource, found)
    if fresh == resource:
        deployment.display.same()
        return
    deployment.state.put(fresh)
    deployment.display.end(Op.UPDATE, resource.type, resource.name, since=started)


def _read(deployment: Deployment, resource: Resource) -> Props | None:
    cloud = deployment.cloud(resource.provider, resource.type)
    try:
        return handler_for(resource.type).read(cloud, resource.id, resource.plain_inputs)
    except Exception as error:
        if is_gone(error):
            return None
        raise


def _refreshed(resource: Resource, found: Props) -> Resource:
    """What was read wins over outputs, and over inputs, so that the next `up` sets right what drifted."""
    inputs = {key: found.get(key, value) if key in found else value for key, value in resource.inputs.items()}
    hidden = {key for key, value in resource.outputs.items() if isinstance(value, Secret)}
    outputs = resource.outputs | {key: Secret(plain(value)) if key in hidden else value for key, value in found.items()}
    return dataclasses.replace(resource, inputs=inputs, outputs=outputs)
