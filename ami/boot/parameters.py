"""Env file of the app from the stack's SSM parameters, readable by root alone."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass

from .cloud import Client
from .masking import Secrets
from .user_data import UserData

LOG = logging.getLogger("boot")
INSTANCE_VARIABLES = frozenset({"PORT", "RELEASE", "COLOR", "ENVIRONMENT", "HEALTH_PATH"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ParameterError(Exception):
    pass


@dataclass(frozen=True, kw_only=True)
class Parameter:
    name: str
    value: str
    secret: bool


def read_parameters(client: Client, path: str) -> list[Parameter]:
    """Parameters directly under the path: deeper ones belong to something else."""
    pages = client.get_paginator("get_parameters_by_path").paginate(Path=path, Recursive=False, WithDecryption=True)
    return [
        Parameter(name=entry["Name"].rpartition("/")[2], value=entry["Value"], secret=entry["Type"] == "SecureString")
        for page in pages
        for entry in page["Parameters"]
    ]


def hide_secrets(parameters: list[Parameter], secrets: Secrets) -> None:
    for parameter in parameters:
        if parameter.secret:
            secrets.add(parameter.value)


def instance_environment(user_data: UserData) -> dict[str, str]:
    return {
        "PORT": str(user_data.app.port),
        "RELEASE": user_data.release.version,
        "COLOR": user_data.color,
        "ENVIRONMENT": user_data.stack,
        "HEALTH_PATH": user_data.app.health_path,
    }


def env_file(parameters: list[Parameter], instance: Mapping[str, str]) -> str:
    """Docker's env file: one line per variable, no quoting. The instance's own variables override parameters.

    Raises ParameterError.
    """
    problems = [problem for parameter in parameters if (problem := _problem(parameter))]
    if problems:
        raise ParameterError("; ".join(problems))
    values = {parameter.name: parameter.value for parameter in parameters}
    for name in sorted(values.keys() & instance.keys()):
        LOG.warning("ignore parameter name=%s reason=the instance sets it", name)
    values |= instance
    return "".join(f"{name}={values[name]}\n" for name in sorted(values))


def _problem(parameter: Parameter) -> str:
    if not _NAME.fullmatch(parameter.name):
        return f"parameter {parameter.name}: not a variable's name (letters, digits, _; no digit first)"
    if "\n" in parameter.value or "\r" in parameter.value:
        return f"parameter {parameter.name}: has a line break, which an env file can't hold: store it in base64"
    return ""
