"""A stack with users, and checkouts that don't know it: none of them changes anything, bare or by script."""

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
from scripts.display import Display
from scripts.exits import RefusedError
from scripts.sync_config import SyncArgs, sync_config
from scripts.up import UpArgs, bring_up
from tests.rehearsal.cloud.fleet import Running
from tests.rehearsal.pulumi.front import Front

from .conftest import OpenStack
from .test_life import Life, touched

TIMEOUT_S = 120
OTHER_ACCOUNT = "210987654321"
pytestmark = [pytest.mark.engine, pytest.mark.timeout(1500)]

Config = dict[str, Any]
Edit = Callable[[Config], None]


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """A folder with the project: `base` names the file that it has, `edit` changes it as a person would."""

    name: str
    base: str
    says: str
    edit: Edit = lambda _: None
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    script_says: str = ""
    """Where that is another sentence: scripts compare config with the stack before the program asks for the account."""


def put(**values: Any) -> Edit:
    """Values by key; a color's by two underscores, and a value of None takes the key out."""

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


def held(color: str, release: str) -> dict[str, Any]:
    return {
        f"{color}__release": release,
        f"{color}__releaseUrl": f"https://example.org/{release}.tar.gz",
        f"{color}__amiId": "ami-0123456789abcdef0",
    }


OLDER = "the config of this checkout is older than the last change of stack dev: green v2 has 100 % of the traffic"
FRESH = [
    Checkout(name=name, base="committed", says=OLDER, edit=edit)
    for name, edit in {
        "as committed": put(),
        "green wanted": put(activeColor="green"),
        "smaller instances": put(instanceType="t3.nano"),
        "longer logs": put(logRetentionDays=30),
        "a first release": put(**held("blue", "v1")),
        "a first release on green": put(activeColor="green", **held("green", "v1")),
        "two releases": put(**held("blue", "v1"), **held("green", "v2")),
        "two releases, green live": put(activeColor="green", **held("blue", "v1"), **held("green", "v2")),
        "a canary": put(canaryPercent=10, **held("blue", "v1"), **held("green", "v2")),
        "sizes alone": put(blue__minSize=2, green__minSize=2),
    }.items()
]
STALE = [
    Checkout(name=name, base=base, says=OLDER, edit=edit)
    for name, (base, edit) in {
        "from before the cutover": ("v2", put()),
        "from before the first release": ("empty", put()),
        "with the first release": ("v1", put()),
        "with the first release, other instances": ("v1", put(instanceType="t3.nano")),
        "with the first release, and a new one on green": ("v1", put(**held("green", "v9"))),
        "from before the cutover, a canary": ("v2", put(canaryPercent=10)),
        "from before the cutover, green retired": ("v2", put(green={})),
        "from before the cutover, another release on green": ("v2", put(**held("green", "v9"))),
        "as it is, without its revision": ("live", put(revision=None, activeColor="blue")),
        "as it is, of an older revision": ("live", put(revision="0123456789ab", activeColor="blue")),
    }.items()
]
ACCOUNT = f"stack dev is in the AWS account 123456789012, and this would make it in {OTHER_ACCOUNT}"
REGION = "stack dev is in the AWS region eu-central-1, and this would make it in us-east-1"
OTHER_REGION = {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"}


def _us_east(config: Config) -> None:
    config["aws:region"] = "us-east-1"


FOREIGN = [
    Checkout(name="another account", base="live", says=ACCOUNT, elsewhere={"account": OTHER_ACCOUNT}),
    Checkout(
        name="another account, fresh",
        base="committed",
        says=ACCOUNT,
        elsewhere={"account": OTHER_ACCOUNT},
        script_says=OLDER,
    ),
    Checkout(
        name="another account, stale", base="v1", says=ACCOUNT, elsewhere={"account": OTHER_ACCOUNT}, script_says=OLDER
    ),
    Checkout(name="another region", base="live", says=REGION, edit=_us_east, elsewhere=OTHER_REGION),
    Checkout(name="another region, fresh", base="committed", says=REGION, edit=_us_east, elsewhere=OTHER_REGION),
    Checkout(name="another region, stale", base="v1", says=REGION, edit=_us_east),
    Checkout(name="prod's file", base="prod", says=OLDER),
    Checkout(name="prod's file with a release", base="prod", says=OLDER, edit=put(**held("blue", "v1"))),
    Checkout(name="a revision of another stack", base="live", says=OLDER, edit=put(revision="fedcba987654", blue={})),
    Checkout(name="an empty file", base="nothing", says=OLDER),
]
KINDS = {"fresh": FRESH, "stale": STALE, "foreign": FOREIGN}


@pytest.fixture
def secrets_provider() -> str:
    """A key of the account would refuse credentials of another one before the program is run."""
    return "passphrase"


@pytest.fixture
def files(stack: OpenStack, cloud: Running, workspace: Workspace) -> dict[str, Config]:
    """What the stack's file held at each step of its life; green serves v2 in the end, blue v1 is ready."""
    dev = stack("dev")
    life, found = Life(dev, cloud), dict[str, Config]()

    def read() -> Config:
        return dict(yaml.safe_load((workspace.project / "Pulumi.dev.yaml").read_text())["config"])

    own = {key: value for key, value in read().items() if key.startswith("aws:") or key == "bluegreen:httpPort"}
    committed, prod = (yaml.safe_load((ROOT / f"Pulumi.{name}.yaml").read_text())["config"] for name in ("dev", "prod"))
    found |= {"committed": {**committed, **own}, "prod": {**prod, **own}, "nothing": own}
    life.up("from nothing")
    found["empty"] = read()
    for color, release in (("blue", "v1"), ("green", "v2")):
        life.deliver(color, release)
        life.up(release)
        found[release] = read()
    life.set("activeColor", "green")
    life.up("cutover")
    found["live"] = read()
    return found


def header(workspace: Workspace) -> Config:
    """What the stack's file says of its secrets, which is no config."""
    return {**yaml.safe_load((workspace.project / "Pulumi.dev.yaml").read_text()), "config": {}}


@contextmanager
def elsewhere(checkout: Checkout, cloud: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Credentials of another account are those of a role in it."""
    with monkeypatch.context() as patched:
        if account := checkout.elsewhere.get("account"):
            role = f"arn:aws:iam::{account}:role/elsewhere"
            found = cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="elsewhere")["Credentials"]
            patched.setenv("AWS_ACCESS_KEY_ID", found["AccessKeyId"])
            patched.setenv("AWS_SECRET_ACCESS_KEY", found["SecretAccessKey"])
            patched.setenv("AWS_SESSION_TOKEN", found["SessionToken"])
        for name, value in checkout.elsewhere.items():
            if name.startswith("AWS_"):
                patched.setenv(name, value)
        yield


def bare(workspace: Workspace, project: Path) -> str:
    """As a person types it; what it printed."""
    done = subprocess.run(
        [str(workspace.cli.program), "up", "--yes", "--skip-preview", "--stack", "dev", "--non-interactive"],
        cwd=project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode != 0, done.stdout + done.stderr
    return done.stdout + done.stderr


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
def test_a_checkout_that_does_not_know_the_stack_changes_nothing(
    checkouts: list[Checkout],
    files: dict[str, Config],
    workspace: Workspace,
    cloud: Running,
    calls: CloudClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = calls.write_calls()
    for checkout in checkouts:
        project = copy_project(tmp_path / "checkout")
        config = json.loads(json.dumps(files[checkout.base]))
        checkout.edit(config)
        file = project / "Pulumi.dev.yaml"
        file.write_text(yaml.safe_dump(header(workspace) | {"config": config}))
        written = file.read_bytes()
        with elsewhere(checkout, cloud, monkeypatch):
            assert checkout.says in bare(workspace, project), checkout.name
            assert calls.write_calls() == before, checkout.name
            said = scripted(project)
        assert said.startswith(checkout.script_says or checkout.says), checkout.name
        assert calls.write_calls() - before <= 6, checkout.name  # lock and history of the script, in the bucket
        before = calls.write_calls()
        assert file.read_bytes() == written, checkout.name
        shutil.rmtree(project)


def test_recalled_a_fresh_checkout_goes_on_where_the_stack_is(
    files: dict[str, Config], workspace: Workspace, front: Front, tmp_path: Path
) -> None:
    project = copy_project(tmp_path / "checkout")
    file = project / "Pulumi.dev.yaml"
    file.write_text(yaml.safe_dump(header(workspace) | {"config": files["committed"]}))
    fresh = auto.select_stack(stack_name="dev", work_dir=str(project))
    assert set(sync_config(fresh, SyncArgs())) == {"activeColor", "blue", "green"}
    assert touched(fresh.up().summary.resource_changes) == {}
    fresh.set_config("activeColor", auto.ConfigValue("blue"))
    assert touched(fresh.up().summary.resource_changes) == {"update": 1}
    # The first checkout is the stale one now; and asks for what was before.
    first = auto.select_stack(stack_name="dev", work_dir=str(workspace.project))
    with pytest.raises(auto.CommandError, match="would move all users from blue v1 to green v2"):
        first.up()
    assert sync_config(first, SyncArgs()) == {"activeColor": "blue"}
    assert touched(first.up().summary.resource_changes) == {}
