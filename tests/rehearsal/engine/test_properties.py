"""Whatever programs a stack sees one after the other, the cloud ends up holding what the last one declares."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore import session as botocore_session
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pulumi.automation import ConfigValue
from pulumi.automation.errors import CommandError
from werkzeug.wrappers import Response

from rehearsal.engine import Stack
from rehearsal.engine import stack as stack_module

from .conftest import Traffic
from .within import Within

Client = Callable[[str], Any]
Node = dict[str, Any]

HERE = Path(__file__).parent
NAMES = ("n0", "n1", "n2", "n3", "n4")
KINDS = {
    "vpc": "aws:ec2/vpc:Vpc",
    "group": "aws:ec2/securityGroup:SecurityGroup",
    "log": "aws:cloudwatch/logGroup:LogGroup",
    "parameter": "aws:ssm/parameter:Parameter",
}


@pytest.fixture(autouse=True)
def _within(monkeypatch: pytest.MonkeyPatch) -> None:
    pipes = SimpleNamespace(Popen=Within, PIPE=subprocess.PIPE)
    monkeypatch.setattr(stack_module, "subprocess", pipes)
    # A process reads AWS's service models once; here each run would read them again, for most of its time.
    monkeypatch.setattr(botocore_session, "create_loader", functools.cache(botocore_session.create_loader))


# -- small graphs ---------------------------------------------------------------------------------------------------


@st.composite
def graphs(draw: st.DrawFn) -> list[Node]:
    nodes: list[Node] = []
    for name in NAMES:
        if draw(st.booleans()) or draw(st.booleans()):
            nodes.append(draw(_node(name, nodes)))
    return nodes


@st.composite
def _node(draw: st.DrawFn, name: str, before: list[Node]) -> Node:
    vpcs = [each["name"] for each in before if each["kind"] == "vpc"]
    kind = draw(st.sampled_from(["vpc", "log", "parameter", *(["group"] if vpcs else [])]))
    known = [each["name"] for each in before]
    some = st.lists(st.sampled_from(known), unique=True, max_size=2) if known else st.just([])
    content = "value" if kind == "parameter" else "tags"
    seldom = st.sampled_from([False, False, False, True])
    return {
        "name": name,
        "kind": kind,
        "shape": draw(st.sampled_from("12")),
        "label": draw(st.sampled_from("ab")),
        "inside": draw(st.sampled_from(vpcs)) if kind == "group" else "",
        "needs": draw(some),
        "after": draw(some),
        "child": int(name[1:]) % 2 == 1,
        "secret": draw(st.booleans()),
        "protect": kind != "parameter" and draw(seldom),
        # Retained, a group would hold its VPC, and a parameter its name.
        "retain": kind == "log" and draw(st.booleans()),
        "first": draw(st.booleans()),
        "ignore": [content] if draw(seldom) else [],
        "replace": [content] if draw(seldom) else [],
    }


@st.composite
def faults(draw: st.DrawFn) -> tuple[int, bool] | None:
    """Which write call fails, and whether the cloud did nevertheless what it was asked to."""
    return draw(st.none() | st.tuples(st.integers(1, 8), st.booleans()))


class Account:
    """What the emulated account holds of a graph: ids, and what each one says of itself."""

    def __init__(self, aws: Client) -> None:
        self._aws = aws

    def contents(self) -> dict[str, dict[str, str]]:
        return {"vpc": self._vpcs(), "group": self._groups(), "log": self._logs(), "parameter": self._parameters()}

    def ids(self) -> set[str]:
        return {id for kind in self.contents().values() for id in kind}

    def forget(self, log_group: str) -> None:
        self._aws("logs").delete_log_group(logGroupName=log_group)

    def _vpcs(self) -> dict[str, str]:
        found = self._aws("ec2").describe_vpcs()["Vpcs"]
        return {each["VpcId"]: _label(each["Tags"]) for each in found if not each["IsDefault"]}

    def _groups(self) -> dict[str, str]:
        found = self._aws("ec2").describe_security_groups()["SecurityGroups"]
        return {each["GroupId"]: _label(each["Tags"]) for each in found if each["GroupName"] != "default"}

    def _logs(self) -> dict[str, str]:
        logs = self._aws("logs")
        names = [each["logGroupName"] for each in logs.describe_log_groups()["logGroups"]]
        return {name: logs.list_tags_log_group(logGroupName=name)["tags"]["Label"] for name in names}

    def _parameters(self) -> dict[str, str]:
        found = self._aws("ssm").get_parameters_by_path(Path="/graph", Recursive=True)["Parameters"]
        return {each["Name"]: each["Value"] for each in found}


def _label(tags: list[dict[str, str]]) -> str:
    return {tag["Key"]: tag["Value"] for tag in tags}["Label"]


def _refused(act: Callable[[], Response], *, done: bool) -> Response:
    """The call fails for a reason that no retry mends; `done`: the cloud has nevertheless acted by then."""
    if done:
        act()
    text = "<Response><Errors><Error><Code>Refused</Code><Message>by chance</Message></Error></Errors></Response>"
    return Response(text, status=403, headers={"x-amzn-errortype": "Refused"})


@dataclass
class Life:
    """One stack's life from nothing to nothing, and what must hold at each moment of it."""

    stack: Stack
    account: Account
    traffic: Traffic
    nodes: list[Node] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    ever_retained: set[str] = field(default_factory=set)

    def step(self, nodes: list[Node], fault: tuple[int, bool] | None) -> None:
        if any(each["protect"] for each in self.nodes):
            kept = {(each["name"], each["kind"]) for each in self.nodes}
            nodes = [each | {"protect": each["protect"] and (each["name"], each["kind"]) in kept} for each in nodes]
        fallen = fault is not None and self._fails(nodes, fault)
        if self._is_refused(nodes):
            self.up(_released(self.nodes))
            self.up(nodes)
            fallen = True
        self._holds(nodes, fallen=fallen)

    def _is_refused(self, nodes: list[Node]) -> bool:
        """Whether protection alone stood in the way of a run."""
        try:
            self.up(nodes)
        except CommandError as error:
            if "protected" in str(error) and any(each["protect"] for each in self.nodes):
                return True
            raise
        return False

    def _fails(self, nodes: list[Node], fault: tuple[int, bool]) -> bool:
        """Whether a run with that fault failed: it may have fewer calls than that."""
        number, done = fault
        self.traffic.happens(number, lambda act: _refused(act, done=done))
        try:
            self.up(nodes)
        except CommandError:
            return True
        finally:
            self.traffic.mend()
        return False

    def up(self, nodes: list[Node]) -> None:
        self.stack.set_config("nodes", ConfigValue(json.dumps(nodes)))
        safe = self._safe(nodes)
        self.ever_retained |= {each["id"] for each in self._recorded() if each.get("retainOnDelete")}
        try:
            self.stack.up()
        finally:
            assert safe <= self.account.ids(), f"deleted though protected or retained: {safe - self.account.ids()}"

    def _safe(self, nodes: list[Node]) -> set[str]:
        """What no run of these nodes may delete: the protected, unless they say otherwise, and the retained."""
        free = {(node["name"], KINDS[node["kind"]]) for node in nodes if not node["protect"]}
        return {
            each["id"]
            for each in self._recorded()
            if each.get("retainOnDelete")
            or (each.get("protect") and (each["urn"].rpartition("::")[2], each["type"]) not in free)
        }

    def _recorded(self) -> list[dict[str, Any]]:
        exported = self.stack.export_stack().deployment
        assert exported is not None
        return [each for each in exported["resources"] if each["type"] in KINDS.values()]

    def _holds(self, nodes: list[Node], *, fallen: bool) -> None:
        contents, ids = self.account.contents(), self.stack.outputs()["ids"].value
        assert {each["urn"].rpartition("::")[2]: each["id"] for each in self._recorded()} == ids
        assert set(ids) == {each["name"] for each in nodes}
        for node in nodes:
            found = contents[node["kind"]][ids[node["name"]]]
            fresh = "/".join([node["label"], *(ids[name] for name in node["needs"])])
            assert found in self._allowed(node, fresh, fallen=fallen), node
            self.labels[_key(node)] = found
        assert self.account.ids() - set(ids.values()) <= self.ever_retained, "left over"
        self.labels = {key: text for key, text in self.labels.items() if key in map(_key, nodes)}
        self.nodes = nodes
        self.traffic.actions.clear()
        self.stack.up()
        assert self.traffic.actions == []

    def _allowed(self, node: Node, fresh: str, *, fallen: bool) -> set[str]:
        """Ignored changes leave what was; unless the node had to go before it came again."""
        was = self.labels.get(_key(node))
        if not node["ignore"] or was is None:
            return {fresh}
        return {was, fresh} if fallen or node["kind"] == "group" else {was}

    def end(self) -> None:
        if any(each["protect"] for each in self.nodes):
            with pytest.raises(CommandError, match="protected"):
                self.stack.destroy()
            self.up([each | {"protect": False} for each in self.nodes])
        retained = {each["id"] for each in self._recorded() if each.get("retainOnDelete")}
        self.stack.destroy()
        assert retained <= self.account.ids() <= self.ever_retained | retained
        for name in self.account.contents()["log"]:
            self.account.forget(name)
        assert self._recorded() == []


def _released(nodes: list[Node]) -> list[Node]:
    """Unprotected, and without what has a fixed name: one that waits for its deletion would be in its own way."""
    kept = [each for each in nodes if each["kind"] != "parameter"]
    names = {each["name"] for each in kept}
    return [
        each | {"protect": False} | {key: [n for n in each[key] if n in names] for key in ("needs", "after")}
        for each in kept
    ]


def _key(node: Node) -> str:
    return f"{node['name']}:{node['kind']}"


@pytest.fixture
def lives(tmp_path_factory: pytest.TempPathFactory, aws: Client, traffic: Traffic) -> Callable[[], Life]:
    account = Account(aws)

    def new() -> Life:
        if account.ids():  # emptying the emulator takes longer than a life in it
            traffic.reset()
        folder = tmp_path_factory.mktemp("life")
        stack = Stack("test", project=HERE / "graph", state_dir=folder)
        stack.set_config("notes", ConfigValue(str(folder / "notes")))
        return Life(stack=stack, account=account, traffic=traffic)

    return new


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],  # each step takes a tenth of a second: shrinking takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(st.tuples(graphs(), faults()), min_size=1, max_size=4))
def test_any_sequence_of_graphs_converges(
    lives: Callable[[], Life], steps: list[tuple[list[Node], tuple[int, bool] | None]]
) -> None:
    life = lives()
    for nodes, fault in steps:
        life.step(nodes, fault)
    life.end()
