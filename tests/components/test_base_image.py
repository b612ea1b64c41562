from __future__ import annotations

import json
from typing import Any

from components.base_image import BaseImage
from tests.declared import ACCOUNT, CONTEXT, Declaration, declare

DIGEST = "0123456789abcdef" * 4
SOURCE = f"docker.io/library/python@sha256:{DIGEST}"
KEY = "base-0123456789ab"
COPY = f"{ACCOUNT}.ecr.example/base"


def base_image(source: str = SOURCE) -> tuple[Declaration, dict[str, Any]]:
    outputs: dict[str, Any] = {}

    def program() -> None:
        made = BaseImage("base", CONTEXT, source)
        made.reference.apply(lambda value: outputs.update(reference=value))

    return declare(program), outputs


def test_what_stands() -> None:
    declared, _ = base_image()
    assert declared.table() == {
        ("ecr.Repository", "base"),
        ("ecr.LifecyclePolicy", "base"),
        ("docker.RemoteImage", KEY),
        ("docker.Tag", KEY),
        ("docker.RegistryImage", KEY),
    }


def test_the_image_is_pulled_by_digest_and_tagged_with_it() -> None:
    declared, _ = base_image()
    assert declared.one("docker.RemoteImage").inputs == {"name": SOURCE, "keepLocally": True}
    assert declared.one("docker.Tag").inputs == {"sourceImage": "sha256:local", "targetImage": f"{COPY}:{DIGEST}"}


def test_the_copy_is_pushed_with_a_login_that_is_a_secret_and_no_change() -> None:
    declared, _ = base_image()
    pushed = declared.one("docker.RegistryImage")
    assert pushed.inputs == {
        "name": f"{COPY}:{DIGEST}",
        "keepRemotely": True,
        "authConfig": {"address": f"https://{ACCOUNT}.ecr.example", "username": "AWS", "password": "sesame"},
    }
    assert pushed.secrets == {"authConfig"}
    assert pushed.ignore_changes == ("authConfig",)


def test_machines_are_told_the_digest_that_the_registry_computed() -> None:
    _, outputs = base_image()
    assert outputs["reference"] == f"{COPY}@sha256:pushed"


def test_another_image_is_another_resource() -> None:
    declared, _ = base_image(f"docker.io/library/python@sha256:{'f' * 64}")
    assert declared.all("docker.RegistryImage").keys() == {"base-ffffffffffff"}


def test_the_repository_is_the_stacks_own() -> None:
    declared, _ = base_image()
    assert declared.one("ecr.Repository").inputs == {
        "name": "bluegreen/dev/base",
        "imageTagMutability": "MUTABLE",
        "imageScanningConfiguration": {"scanOnPush": True},
        "forceDelete": True,
        "tags": {"Stack": "dev"},
    }
    (rule,) = json.loads(declared.one("ecr.LifecyclePolicy").inputs["policy"])["rules"]
    assert rule["selection"] == {"tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": 5}
