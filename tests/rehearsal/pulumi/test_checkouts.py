"""Checkouts with outdated or foreign config of a stack with traffic: neither `pulumi up` nor a script changes it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi.automation as auto
import pytest
import yaml

from rehearsal.cloud.client import CloudClient
from rehearsal.workspace import ROOT, Workspace, copy_project
from scripts.cli.display import Display
from scripts.cli.exits import RefusedError
from scripts.sync_config import SyncArgs, sync_config
from scripts.up import UpArgs, bring_up
from tests.rehearsal.cloud.fleet import Running
from tests.rehearsal.pulumi.load_balancer_stub import LoadBalancerStub

from .conftest import OpenStack
from .test_stack_lifecycle import StackLifecycle, changed_counts

TIMEOUT_S = 120
OTHER_ACCOUNT = "210987654321"
pytestmark = [pytest.mark.engine, pytest.mark.timeout(1500)]

Config = dict[str, Any]
Edit = Callable[[Config], None]


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """A project folder: `base` names its config file, `edit` changes that as a person would."""

    name: str
    base: str
    bare_error: str
    edit: Edit = lambda _: None
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    script_error: str = ""
    """Where it differs: scripts compare config with the stack before the program requests the account."""


def put(**values: Any) -> Edit:
    """Values by key; a color's with two underscores; None removes the key."""

    def edit(config: Config) -> None:
        for name, value in values.items():
            outer, _, inner = name.partition("__")
            if inner:
                config.setdefault(f"bluegreen:{outer}", {})[inner] = value
            elif value is None:
                config.pop(f"bluegreen:{outer}", None)
            else:
                config[f"bluegreen:{outer}"] = value

    return edit


def color_config(color: str, release: str) -> dict[str, Any]:
    return {
        f"{color}__release": release,
        f"{color}__releaseUrl": f"https://example.org/{release}.tar.gz",
        f"{color}__amiId": "ami-0123456789abcdef0",
    }


OLDER = "the config of this checkout is older than the last change of stack dev: green v2 has 100 % of the traffic"
FRESH = [
    Checkout(name=name, base="committed", bare_error=OLDER, edit=edit)
    for name, edit in {
        "as committed": put(),
        "green active": put(activeColor="green"),
        "smaller instances": put(instanceType="t3.nano"),
        "longer logs": put(logRetentionDays=30),
        "a first release": put(**color_config("blue", "v1")),
        "a first release on green": put(activeColor="green", **color_config("green", "v1")),
        "two releases": put(**color_config("blue", "v1"), **color_config("green", "v2")),
        "two releases, green live": put(
            activeColor="green", **color_config("blue", "v1"), **color_config("green", "v2")
        ),
        "a canary": put(canaryPercent=10, **color_config("blue", "v1"), **color_config("green", "v2")),
        "sizes alone": put(blue__minSize=2, green__minSize=2),
    }.items()
]
STALE = [
    Checkout(name=name, base=base, bare_error=OLDER, edit=edit)
    for name, (base, edit) in {
        "from before the cutover": ("v2", put()),
        "from before the first release": ("empty", put()),
        "with the first release": ("v1", put()),
        "with the first release, other instances": ("v1", put(instanceType="t3.nano")),
        "with the first release, and a new one on green": ("v1", put(**color_config("green", "v9"))),
        "from before the cutover, a canary": ("v2", put(canaryPercent=10)),
        "from before the cutover, green retired": ("v2", put(green={})),
        "from before the cutover, another release on green": ("v2", put(**color_config("green", "v9"))),
        "as it is, without its revision": ("live", put(revision=None, activeColor="blue")),
        "as it is, of an older revision": ("live", put(revision="0123456789ab", activeColor="blue")),
    }.items()
]
ACCOUNT = f"stack dev is in the AWS account 123456789012, and this would create it in {OTHER_ACCOUNT}"
REGION = "stack dev is in the AWS region eu-central-1, and this would create it in us-east-1"
OTHER_REGION = {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"}


def _us_east(config: Config) -> None:
    config["aws:region"] = "us-east-1"


FOREIGN = [
    Checkout(name="another account", base="live", bare_error=ACCOUNT, elsewhere={"account": OTHER_ACCOUNT}),
    Checkout(
        name="another account, fresh",
        base="committed",
        bare_error=ACCOUNT,
        elsewhere={"account": OTHER_ACCOUNT},
        script_error=OLDER,
    ),
    Checkout(
        name="another account, stale",
        base="v1",
        bare_error=ACCOUNT,
        elsewhere={"account": OTHER_ACCOUNT},
        script_error=OLDER,
    ),
    Checkout(name="another region", base="live", bare_error=REGION, edit=_us_east, elsewhere=OTHER_REGION),
    Checkout(name="another region, fresh", base="committed", bare_error=REGION, edit=_us_east, elsewhere=OTHER_REGION),
    Checkout(name="another region, stale", base="v1", bare_error=REGION, edit=_us_east),
    Checkout(name="prod's file", base="prod", bare_error=OLDER),
    Checkout(name="prod's file with a release", base="prod", bare_error=OLDER, edit=put(**color_config("blue", "v1"))),
    Checkout(
        name="a revision of another stack", base="live", bare_error=OLDER, edit=put(revision="fedcba987654", blue={})
    ),
    Checkout(name="an empty file", base="nothing", bare_error=OLDER),
]
KINDS = {"fresh": FRESH, "stale": STALE, "foreign": FOREIGN}


@pytest.fixture
def secrets_provider() -> str:
    """A KMS key would refuse credentials of another account before the program is run."""
    return "passphrase"


@pytest.fixture
def config_files(stack: OpenStack, cloud: Running, workspace: Workspace) -> dict[str, Config]:
    """The stack's config at each step of its lifecycle; in the end green v2 is live, and blue v1 is idle."""
    dev = stack("dev")
    lifecycle, configs = StackLifecycle(dev, cloud), dict[str, Config]()

    def read() -> Config:
        return dict(yaml.safe_load((workspace.project / "Pulumi.dev.yaml").read_text())["config"])

    own = {key: value for key, value in read().items() if key.startswith("aws:") or key == "bluegreen:httpPort"}
    committed, prod = (yaml.safe_load((ROOT / f"Pulumi.{name}.yaml").read_text())["config"] for name in ("dev", "prod"))
    configs |= {"committed": {**committed, **own}, "prod": {**prod, **own}, "nothing": own}
    lifecycle.up("from nothing")
    configs["empty"] = read()
    for color, release in (("blue", "v1"), ("green", "v2")):
        lifecycle.deploy(color, release)
        lifecycle.up(release)
        configs[release] = read()
    lifecycle.set("activeColor", "green")
    lifecycle.up("cutover")
    configs["live"] = read()
    return configs


def header(workspace: Workspace) -> Config:
    """The stack's file without config: its secrets provider and key."""
    return {**yaml.safe_load((workspace.project / "Pulumi.dev.yaml").read_text()), "config": {}}


@contextmanager
def elsewhere(checkout: Checkout, cloud: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Credentials of another account are those of a role in it."""
    with monkeypatch.context() as patched:
        if account := checkout.elsewhere.get("account"):
            role = f"arn:aws:iam::{account}:role/elsewhere"
            configs = cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="elsewhere")["Credentials"]
            patched.setenv("AWS_ACCESS_KEY_ID", configs["AccessKeyId"])
            patched.setenv("AWS_SECRET_ACCESS_KEY", configs["SecretAccessKey"])
            patched.setenv("AWS_SESSION_TOKEN", configs["SessionToken"])
        for name, value in checkout.elsewhere.items():
            if name.startswith("AWS_"):
                patched.setenv(name, value)
        yield


def bare(workspace: Workspace, project: Path) -> str:
    """Output of a plain `pulumi up`, which has to fail."""
    process = subprocess.run(
        [str(workspace.cli.program), "up", "--yes", "--skip-preview", "--stack", "dev", "--non-interactive"],
        cwd=project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert process.returncode != 0, process.stdout + process.stderr
    return process.stdout + process.stderr


def scripted(project: Path) -> str:
    opened = auto.select_stack(stack_name="dev", work_dir=str(project))
    with pytest.raises(RefusedError) as caught:
        bring_up(opened, UpArgs(), Display(as_json=True))
    return str(caught.value)


@pytest.mark.parametrize(
    "checkouts",
    [
        pytest.param([each[0] for each in KINDS.values()], id="one of each kind"),
        *(pytest.param(each, id=name, marks=pytest.mark.drills) for name, each in KINDS.items()),
    ],
)
def test_a_checkout_with_outdated_or_foreign_config_changes_nothing(
    checkouts: list[Checkout],
    config_files: dict[str, Config],
    workspace: Workspace,
    cloud: Running,
    calls: CloudClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = calls.write_calls()
    for checkout in checkouts:
        project = copy_project(tmp_path / "checkout")
        config = json.loads(json.dumps(config_files[checkout.base]))
        checkout.edit(config)
        file = project / "Pulumi.dev.yaml"
        file.write_text(yaml.safe_dump(header(workspace) | {"config": config}))
        written = file.read_bytes()
        with elsewhere(checkout, cloud, monkeypatch):
            assert checkout.bare_error in bare(workspace, project), checkout.name
            assert calls.write_calls() == before, checkout.name
            error = scripted(project)
        assert error.startswith(checkout.script_error or checkout.bare_error), checkout.name
        assert calls.write_calls() - before <= 6, checkout.name  # lock and history of the script, in the bucket
        before = calls.write_calls()
        assert file.read_bytes() == written, checkout.name
        shutil.rmtree(project)


def test_a_fresh_checkout_continues_with_recalled_config(
    config_files: dict[str, Config], workspace: Workspace, load_balancer: LoadBalancerStub, tmp_path: Path
) -> None:
    project = copy_project(tmp_path / "checkout")
    file = project / "Pulumi.dev.yaml"
    file.write_text(yaml.safe_dump(header(workspace) | {"config": config_files["committed"]}))
    fresh = auto.select_stack(stack_name="dev", work_dir=str(project))
    assert set(sync_config(fresh, SyncArgs())) == {"activeColor", "blue", "green"}
    assert changed_counts(fresh.up().summary.resource_changes) == {}
    fresh.set_config("activeColor", auto.ConfigValue("blue"))
    assert changed_counts(fresh.up().summary.resource_changes) == {"update": 1}
    # Now the first checkout is outdated, and would restore the previous state.
    first = auto.select_stack(stack_name="dev", work_dir=str(workspace.project))
    with pytest.raises(auto.CommandError, match="would move all traffic from blue v1 to green v2"):
        first.up()
    assert sync_config(first, SyncArgs()) == {"activeColor": "blue"}
    assert changed_counts(first.up().summary.resource_changes) == {}
