"""A small cloud for tests: a stack in moto's AWS, an HTTP front that follows its live rule, and apps that can fail."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
from pulumi.automation import ConfigValue, EngineEvent, OpType, OutputValue, UpdateSummary, UpResult
from pulumi.automation._cmd import CommandResult
from pulumi.automation.errors import CommandError

from ami.boot.messages import BootFailed, body, log_stream
from ami.boot.unpack import BundleKind
from config.colors import ColorSettings
from fleet import deployments
from fleet.colors import Color
from fleet.deployments import Deployment, RecordedTraffic, StackUpdate
from fleet.gates import GateArgs, GateClosed, lost_traffic, verify_change, verify_public_endpoint, verify_release
from fleet.launches import CapacityWait, LaunchesStoppedError, wait_for_capacity
from fleet.state import ADDRESS_TAG, BUCKET_TAG, TOPIC_TAG, client, is_stopped
from scripts.releases.bucket import Migration, ReleaseManifest, bundle_url, manifest_key
from tests.messages import require_valid

REGION = "eu-central-1"
STACK = "dev"
BUCKET = "artifacts-dev"
TOPIC = f"arn:aws:sns:{REGION}:123456789012:alerts"
TOKEN = "token0123"
HEADER = "X-Bluegreen-Preview"
WAITS_S = 20.0  # for machines that never come: a test that sits it out has failed


@dataclass
class App:
    """How the app of one release answers."""

    database: str = "ok"
    answers: bool = True
    fails_with_users: bool = False
    """Well behind the preview header, ill when users come: what only the check after the switch can see."""
    fails_one_in: int = 0
    """One in so many requests for the start page is answered by 500."""
    hangs: threading.Event | None = None
    """Until then the start page gives no answer, and the health path does."""
    asked: int = 0
    """How often the start page was."""

    def stumbles(self) -> bool:
        self.asked += 1
        return bool(self.fails_one_in) and self.asked % self.fails_one_in == 0


@dataclass
class World:
    """One stack in the emulator, as the program would have made it, and the truth about its machines."""

    session: Any
    apps: dict[str, App] = field(default_factory=lambda: {name: App() for name in ("v1", "v2", "v3")})
    ill: set[str] = field(default_factory=set)
    rebooted: list[str] = field(default_factory=list)
    boots_fail: bool = False
    never_boots: set[str] = field(default_factory=set)
    """Releases whose machines are abandoned one after the other, for as long as their group launches some."""
    keeps_boot_logs: bool = True
    activities: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Scaling activities by group."""
    calls: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    running: dict[str, tuple[Color, str]] = field(default_factory=dict)
    """Color and release by group: the front asks for each request, and moto takes its time."""
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        self.elbv2, self.autoscaling = client(self.session, "elbv2"), client(self.session, "autoscaling")
        self.ec2, self.s3 = client(self.session, "ec2"), client(self.session, "s3")
        self.mailbox = _mailbox(self.session)
        self.front = _front(self)
        self.url = f"http://127.0.0.1:{self.front.server_address[1]}"
        self._make_ground()

    def close(self) -> None:
        self.front.shutdown()
        self.front.server_close()

    def heard(self) -> list[tuple[str, Any]]:
        """Subjects and contents of what the alerts topic was told since this was last asked."""
        queue = client(self.session, "sqs")
        answer = queue.receive_message(QueueUrl=self.mailbox, MaxNumberOfMessages=10)
        bodies = [json.loads(message["Body"]) for message in answer.get("Messages", [])]
        found = [(body["Subject"], json.loads(body["Message"])) for body in bodies]
        for subject, content in found:
            require_valid(content)
            assert subject == content["subject"]
        return found

    def _make_ground(self) -> None:
        vpc = self.ec2.create_vpc(CidrBlock="10.20.0.0/16")["Vpc"]["VpcId"]
        gateway = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
        zones = zip(("a", "b"), ("10.20.0.0/20", "10.20.16.0/20"), strict=True)
        self.subnets = [
            self.ec2.create_subnet(VpcId=vpc, CidrBlock=cidr, AvailabilityZone=REGION + zone)["Subnet"]["SubnetId"]
            for zone, cidr in zones
        ]
        self.ami = self.ec2.register_image(Name="app", RootDeviceName="/dev/xvda")["ImageId"]
        self.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        own = {BUCKET_TAG: BUCKET, TOPIC_TAG: TOPIC, ADDRESS_TAG: self.url}
        made = self.elbv2.create_load_balancer(Name="dev", Subnets=self.subnets, Tags=_tags(Stack=STACK, **own))
        self.balancer = made["LoadBalancers"][0]["LoadBalancerArn"]
        self.groups = {color: self._target_group(color, vpc) for color in Color}
        fixed = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503"}}
        listener = self.elbv2.create_listener(
            LoadBalancerArn=self.balancer, Protocol="HTTP", Port=80, DefaultActions=[fixed]
        )
        self.listener = listener["Listeners"][0]["ListenerArn"]
        for priority, color in enumerate(Color, start=10):
            self._preview_rule(priority, color)
        self.live = ""

    def _target_group(self, color: Color, vpc: str) -> str:
        made = self.elbv2.create_target_group(
            Name=f"dev-{color}",
            Protocol="HTTP",
            Port=8080,
            VpcId=vpc,
            HealthCheckPath="/health",
            Tags=_tags(Stack=STACK, Color=color),
        )
        return str(made["TargetGroups"][0]["TargetGroupArn"])

    def _preview_rule(self, priority: int, color: Color) -> None:
        condition = {"HttpHeaderName": HEADER, "Values": [f"{TOKEN}-{color}"]}
        self.elbv2.create_rule(
            ListenerArn=self.listener,
            Priority=priority,
            Conditions=[{"Field": "http-header", "HttpHeaderConfig": condition}],
            Actions=[self.forward({color: 100, color.other: 0})],
            Tags=_tags(Role="preview"),
        )

    def forward(self, weights: Mapping[Color, int]) -> dict[str, Any]:
        targets = [{"TargetGroupArn": self.groups[color], "Weight": weight} for color, weight in weights.items()]
        return {"Type": "forward", "ForwardConfig": {"TargetGroups": targets}}

    def weights(self) -> dict[Color, int]:
        """What the live rule says now."""
        if not self.live:
            return {}
        rule = self.elbv2.describe_rules(RuleArns=[self.live])["Rules"][0]
        told = {one["TargetGroupArn"]: one["Weight"] for one in rule["Actions"][0]["ForwardConfig"]["TargetGroups"]}
        return {color: told[arn] for color, arn in self.groups.items()}

    def set_weights(self, weights: Mapping[Color, int]) -> None:
        self.calls.append("weights " + " ".join(f"{color}={weights[color]}" for color in Color))
        if self.live:
            self.elbv2.modify_rule(RuleArn=self.live, Actions=[self.forward(weights)])
            return
        made = self.elbv2.create_rule(
            ListenerArn=self.listener,
            Priority=100,
            Conditions=[{"Field": "path-pattern", "Values": ["/*"]}],
            Actions=[self.forward(weights)],
            Tags=_tags(Role="live"),
        )
        self.live = made["Rules"][0]["RuleArn"]

    def release_of(self, color: Color) -> str:
        return next((release for of, release in self.running.values() if of == color), "")

    def machines_of(self, color: Color) -> list[dict[str, str]]:
        groups = self.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
        return [
            {
                "instance": machine["InstanceId"],
                "release": tags["Release"],
                "ami": tags["Ami"],
                "group": group["AutoScalingGroupName"],
            }
            for group in groups
            for tags in [{tag["Key"]: tag["Value"] for tag in group["Tags"]}]
            if tags["Color"] == color
            for machine in group["Instances"]
        ]

    def start_group(self, color: Color, release: str, ami: str, size: int, maximum: int) -> str:
        name = f"{STACK}-{color}-{release}-{len(self.calls)}"
        self.calls.append(f"create {color} {release}")
        self.running[name] = color, release
        self.ec2.create_launch_template(
            LaunchTemplateName=name,
            LaunchTemplateData={"ImageId": ami, "InstanceType": "t3.small", "UserData": base64.b64encode(b"").decode()},
        )
        tags = {"Stack": STACK, "Color": str(color), "Release": release, "Ami": ami}
        self.autoscaling.create_auto_scaling_group(
            AutoScalingGroupName=name,
            LaunchTemplate={"LaunchTemplateName": name, "Version": "1"},
            MinSize=size,
            MaxSize=maximum,
            TargetGroupARNs=[self.groups[color]],
            VPCZoneIdentifier=",".join(self.subnets),
            Tags=[{"Key": key, "Value": value, "PropagateAtLaunch": True} for key, value in tags.items()],
        )
        return name

    def told_activities(self, group: str) -> list[dict[str, Any]]:
        """Each time that somebody asks, one more machine of a release that never boots has been abandoned."""
        color, release = self.running.get(group, (Color.BLUE, ""))
        found = self.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"]
        if release in self.never_boots and not is_stopped(found[0]):
            self.abandon(group, color, release)
        return self.activities.get(group, [])[::-1]

    def abandon(self, group: str, color: Color, release: str) -> None:
        told = self.activities.setdefault(group, [])
        instance = f"i-{len(told):017x}"
        why = "Instance failed to complete user's Lifecycle Action: Lifecycle Action Completed with ABANDON Result"
        told.append(
            {
                "ActivityId": f"{group}-{len(told)}",
                "AutoScalingGroupName": group,
                "Description": f"Launching a new EC2 instance: {instance}.  Status Reason: {why}",
                "Cause": "At 2026-11-21T00:00:00Z an instance was started",
                "StartTime": self.began + timedelta(seconds=len(told)),
                "StatusCode": "Cancelled",
                "StatusMessage": why,
                "Progress": 100,
            }
        )
        if self.keeps_boot_logs:
            self.write_failure(color, release, instance)

    def write_failure(self, color: Color, release: str, instance: str) -> None:
        """The event that a machine leaves in the boot log group."""
        logs, stream = client(self.session, "logs"), log_stream(color, release, instance)
        with suppress(logs.exceptions.ResourceAlreadyExistsException):
            logs.create_log_group(logGroupName=f"/bluegreen/{STACK}/boot")
        logs.create_log_stream(logGroupName=f"/bluegreen/{STACK}/boot", logStreamName=stream)
        failure = BootFailed(
            stack=STACK,
            color=color,
            release=release,
            instance=instance,
            error="the container ended with 1 before it was ready",
            step="ready",
            step_seconds={"identity": 0.01, "ready": 3.5},
            lines=("start step=ready", "app: ValueError: no database"),
        )
        event = {"timestamp": int(self.began.timestamp() * 1000), "message": body(failure)}
        logs.put_log_events(logGroupName=f"/bluegreen/{STACK}/boot", logStreamName=stream, logEvents=[event])

    def stop_group(self, name: str) -> None:
        self.calls.append(f"delete {name.rsplit('-', 1)[0]}")
        self.running.pop(name)
        gone = [one["instance"] for color in Color for one in self.machines_of(color) if one["group"] == name]
        self.autoscaling.delete_auto_scaling_group(AutoScalingGroupName=name, ForceDelete=True)
        for arn in self.groups.values():
            for instance in gone:
                with suppress(self.elbv2.exceptions.InvalidTargetException):
                    self.elbv2.deregister_targets(TargetGroupArn=arn, Targets=[{"Id": instance}])

    def publish(self, version: str, migration: Migration = Migration.NONE, *, second: int = 0) -> None:
        """A release.json as publish_release writes it; `second` orders releases in time."""
        release = ReleaseManifest(
            version=version,
            commit="",
            kind=BundleKind.SOURCE,
            migration=migration,
            sha256="0" * 63 + version[-1],
            size=1,
            created=(self.began + timedelta(seconds=second)).isoformat(timespec="milliseconds"),
        )
        self.s3.put_object(Bucket=BUCKET, Key=manifest_key(version), Body=release.to_json())

    def served(self) -> str:
        """The release that users get."""
        weights = self.weights()
        return self.release_of(max(weights, key=lambda color: weights[color])) if weights else ""


class WorldStack:
    """The Automation API's interface over a World: `up` does with boto3 what the program would, gates included."""

    def __init__(self, world: World, config: Mapping[str, Any], *, checks_after: bool = True) -> None:
        self.name = STACK
        self.world = world
        self.config = dict(config)
        self.applied: dict[str, Any] = {}
        self.recorded: dict[Color, int] | None = None
        """The live rule's weights as the state has them; None: as AWS does."""
        self.checks_after = checks_after
        self.before_up: Callable[[], None] = lambda: None
        self.events: list[dict[str, Any]] = []
        """What a preview tells, as in the engine's event log."""
        self.preview_error = ""

    def get_all_config(self) -> dict[str, ConfigValue]:
        def text(value: Any) -> str:
            return value if isinstance(value, str) else json.dumps(value)

        own = {f"bluegreen:{key}": ConfigValue(value=text(value)) for key, value in self.config.items()}
        return {"aws:region": ConfigValue(value=REGION), **own}

    def save_config(self) -> Callable[[], None]:
        """As `scripts.config_change.save` does with a file."""
        before = json.loads(json.dumps(self.config))

        def put_back() -> None:
            if self.config != before:
                self.world.calls.append("config put back")
            self.config = before

        return put_back

    def set_config(self, key: str, value: ConfigValue, *, path: bool = False) -> None:
        assert type(value.value) is str, f"{key}: {value.value!r} would not be plain text in a file"
        name = key.removeprefix("bluegreen:")
        self.world.calls.append(f"config {name}={value.value}")
        if path:
            outer, inner = name.split(".")
            self.config[outer] = {**self.config.get(outer, {}), inner: value.value}
        else:
            self.config[name] = value.value

    def outputs(self) -> dict[str, OutputValue]:
        told: dict[str, Any] = {
            "activeColor": self.applied.get("activeColor", "blue"),
            "url": self.world.url,
            "previewHeader": HEADER,
            "previewToken": TOKEN,
            "artifactsBucket": BUCKET,
            "alertsTopicArn": TOPIC,
            "healthPath": "/health",
            "loadBalancerArn": self.world.balancer,
            "loadBalancerArnSuffix": self.world.balancer.rpartition(":loadbalancer/")[2],
            "region": REGION,
            "canaryPercent": self.applied.get("canaryPercent", 0),
            "revision": self.applied.get("revision", ""),
            "colors": {color.value: self._color_output(color) for color in Color},
        }
        return {key: OutputValue(value=value, secret=key == "previewToken") for key, value in told.items()}

    def _color_output(self, color: Color) -> dict[str, str]:
        applied = self.applied.get(color, {})
        told = {key: applied.get(key, "") for key in ("release", "releaseUrl", "sha256", "amiId")}
        arn = self.world.groups[color]
        own = {"targetGroupArn": arn, "targetGroupArnSuffix": arn.rpartition(":")[2]}
        return {**told, **own, "alarm": f"{STACK}-{color}-bad"}

    def preview(
        self,
        *,
        diff: bool,
        refresh: bool = False,
        policy_packs: list[str],
        on_output: Callable[[str], Any] | None,
        on_event: Callable[[EngineEvent], Any],
    ) -> None:
        assert diff
        # A look for drift asks about the cloud, a preview about the change and its policies.
        assert [Path(pack).name for pack in policy_packs] == ([] if refresh else ["policy"])
        self.world.calls.append("preview refreshed" if refresh else "preview")
        for event in self.events:
            on_event(EngineEvent.from_json(event))
        if self.preview_error:
            raise CommandError(CommandResult(stdout="", stderr=f"error: {self.preview_error}", code=255))

    def color(self, color: Color) -> dict[str, Any]:
        return {"release": "", "amiId": "", "minSize": 1, "maxSize": 4, **self.config.get(color, {})}

    @property
    def colors(self) -> dict[Color, ColorSettings]:
        return {
            color: ColorSettings.from_output(one).model_copy(update={"min_size": int(one["minSize"])})
            for color in Color
            for one in [self.color(color)]
        }

    def desired(self) -> Deployment:
        return Deployment(
            active=Color(self.config.get("activeColor", "blue")),
            canary_percent=int(self.config.get("canaryPercent", 0)),
            colors=self.colors,
            revision=self.config.get("revision", ""),
        )

    def change(self) -> StackUpdate:
        """As the program reads it, with the same refusals."""
        last = Deployment.from_outputs({key: output.value for key, output in self.outputs().items()})
        desired = self.desired()
        refused = deployments.refusal(STACK, last, desired, os.environ)
        if refused is None and last.serves and desired.serves and deployments.outgoing(last, desired):
            refused = lost_traffic(STACK, lambda: self.world.session, last, desired)
        return StackUpdate(stack=STACK, last=last, desired=desired, refusal=refused or "")

    def gate(self, recorded: RecordedTraffic | None = None) -> GateArgs:
        return GateArgs(
            recorded=recorded,
            stack=STACK,
            region=REGION,
            colors=self.colors,
            base_url=self.world.url,
            preview_deadline_s=0.3,
            public_deadline_s=0.3,
        )

    def cancel(self) -> None:
        self.world.calls.append("cancel")
        self.before_up = lambda: None

    def up(self, *, on_output: Callable[[str], Any] | None = None, refresh: bool = False) -> UpResult:
        self.world.calls.append("up refreshed" if refresh else "up")
        if refresh:
            self.recorded = None
        began = len(self.world.calls)
        self.before_up()
        if on_output:
            on_output("Updating (dev)\n")
        change = self.change()
        if change.refusal:
            raise CommandError(CommandResult(stdout="", stderr=f"error: {change.refusal}", code=1))
        self._know(change.revision_at_begin)
        try:
            changes = self._colors() + self._live_rule(change)
            self._know(change.revision_at_end)
            changes += self._removals()
        except (GateClosed, LaunchesStoppedError) as error:
            raise _failed(str(error), self.world.calls[began:]) from error
        self.applied = json.loads(json.dumps(self.config)) | {"revision": change.revision}
        now = datetime.now(UTC)
        counts = {OpType.UPDATE: changes, OpType.SAME: 20}
        summary = UpdateSummary("update", now, "", {}, {}, "succeeded", end_time=now, resource_changes=counts)
        return UpResult(stdout="", stderr="", summary=summary, outputs=self.outputs())

    def _know(self, revision: str) -> None:
        if revision != self.config.get("revision", ""):
            self.config["revision"] = revision

    def _colors(self) -> int:
        made = 0
        for color in Color:
            wanted = self.color(color)
            there = {(one["release"], one["ami"]) for one in self.world.machines_of(color)}
            if wanted["release"] and (wanted["release"], wanted["amiId"]) not in there:
                tags = {"Color": color, "Release": wanted["release"], "Ami": wanted["amiId"]}
                verify_release(STACK, lambda: self.world.session, tags)
                size, maximum = int(wanted["minSize"]), int(wanted["maxSize"])
                group = self.world.start_group(color, wanted["release"], wanted["amiId"], size, maximum)
                if wanted["release"] in self.world.never_boots:
                    self._wait_in_vain(color, group, size)
                made += 2
        return made

    def _wait_in_vain(self, color: Color, group: str, size: int) -> None:
        """As the program's hook does, for machines that never come."""
        machines = [one["instance"] for one in self.world.machines_of(color) if one["group"] == group]
        self.world.ill.update(machines)
        awaited = CapacityWait(group=group, instances=size, target_groups=[self.world.groups[color]])
        wait_for_capacity(self.world.session, awaited, WAITS_S)

    def _live_rule(self, change: StackUpdate) -> int:
        active = Color(self.config.get("activeColor", "blue"))
        canary = int(self.config.get("canaryPercent", 0))
        weights = {active: 100 - canary, active.other: canary}
        if not self.color(active)["release"] or weights == (self.recorded or self.world.weights()):
            return 0
        by_arn = {self.world.groups[color]: weight for color, weight in weights.items()}
        try:
            verify_change(self.gate(change.recorded(os.environ)), self.world.session, by_arn)
        except GateClosed:
            self._know(change.desired.revision)
            raise
        self.world.set_weights(weights)
        self.recorded = None
        if self.checks_after:
            verify_public_endpoint(self.gate(), self.world.session, by_arn)
        return 1

    def _removals(self) -> int:
        stale = {
            one["group"]
            for color in Color
            for one in self.world.machines_of(color)
            if (one["release"], one["ami"]) != (self.color(color)["release"], self.color(color)["amiId"])
        }
        for name in stale:
            self.world.stop_group(name)
        return 2 * len(stale)


def _failed(error: str, calls: list[str]) -> CommandError:
    """As the engine writes it."""
    made = sum(call.startswith("create ") for call in calls)
    counts = ["20 unchanged", *([f"+ {made} created"] if made else []), "1 errored"]
    resources = "".join(f"    {count}\n" for count in counts)
    told = f'  live:\n    error: before hook "gate-before-users" failed: {error}\n'
    text = f"Updating (dev):\n\nDiagnostics:\n{told}\nResources:\n{resources}\nDuration: 1s\n"
    return CommandError(CommandResult(stdout=text, stderr="", code=1))


def _mailbox(session: Any) -> str:
    """The address of a queue that hears what is said on the alerts topic."""
    sns, sqs = client(session, "sns"), client(session, "sqs")
    address = str(sqs.create_queue(QueueName="mailbox")["QueueUrl"])
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:{REGION}:123456789012:mailbox")
    return address


def _front(world: World) -> ThreadingHTTPServer:
    class Front(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            preview = self.headers.get(HEADER, "")
            color = next((color for color in Color if preview == f"{TOKEN}-{color}"), None)
            weights = world.weights()
            if color is None and weights:
                color = max(weights, key=lambda one: weights[one])
            release = world.release_of(color) if color else ""
            world.requests.append(f"{'preview' if preview else 'public'} {color or '-'} {self.path}")
            if color is None or not release:
                self._send(503, {"error": "no target"}, {})
                return
            self._app(world.apps[release], release, color, previewed=bool(preview))

        def _app(self, app: App, release: str, color: Color, *, previewed: bool) -> None:
            deep = self.path.endswith("?deep=1")
            fine = app.answers and (previewed or not app.fails_with_users) and (not deep or app.database == "ok")
            checks = {"database": app.database} if deep else {}
            body = {"status": "ok" if fine else "failing", "release": release, "checks": checks}
            known = self.path.split("?")[0] in ("/health", "/")
            if self.path == "/" and app.hangs:
                app.hangs.wait(30)
            if self.path == "/" and app.stumbles():
                self._send(500, {"error": "stumbled"}, {"X-Release": release, "X-Color": color})
                return
            status = 404 if not known else 200 if fine else 503
            self._send(status, body, {"X-Release": release, "X-Color": color})

        def _send(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Front)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server


def two_colors(world: World, *, blue: str = "v1", green: str = "v2", sizes: tuple[int, int] = (2, 2)) -> WorldStack:
    """Blue serves everybody, green stands ready."""
    config = {
        "activeColor": "blue",
        "blue": _config(world, blue, sizes[0]),
        "green": _config(world, green, sizes[1]),
    }
    stack = WorldStack(world, config)
    for second, version in enumerate(("v1", "v2", "v3")):
        world.publish(version, second=second)
    for color, release, size in ((Color.BLUE, blue, sizes[0]), (Color.GREEN, green, sizes[1])):
        world.start_group(color, release, world.ami, size, 4)
    world.set_weights({Color.BLUE: 100, Color.GREEN: 0})
    stack.config["revision"] = stack.desired().next_revision(Deployment())
    stack.applied = json.loads(json.dumps(stack.config))
    world.calls.clear()
    return stack


def _config(world: World, release: str, size: int) -> dict[str, Any]:
    url = bundle_url(BUCKET, release)
    room = {"maxSize": size} if size > 2 else {}  # of the usual 2
    return {"release": release, "releaseUrl": url, "sha256": "0" * 64, "amiId": world.ami, "minSize": size, **room}


def _tags(**tags: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": str(value)} for key, value in tags.items()]


OPEN: dict[str, WorldStack] = {}


def select_world(*, stack_name: str, work_dir: str) -> WorldStack:
    """Stands for `pulumi.automation.select_stack` in tests of whole commands."""
    return OPEN[stack_name]


def make_session() -> Any:
    return boto3.Session(region_name=REGION)
