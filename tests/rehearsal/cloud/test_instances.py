"""Instances as containers: boot, reboot, power-off, replacement, and removal without remains.

The image here is a shell script that begins as a boot does: it reads the instance id from the metadata and records it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.cloud.client import CloudClient
from rehearsal.host.docker_engine import DockerEngine
from rehearsal.host.sandbox import Sandbox
from tests.rehearsal.cloud.fleet import (
    BOOT,
    DRAIN,
    Fleet,
    Running,
    create_group,
    load_balancer,
    network,
    start,
    stop,
    wait,
)

pytestmark = [
    pytest.mark.docker,
    pytest.mark.network,
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("dockerd") is None, reason="needs root and dockerd"),
]

BOOT_SCRIPT = r"""
trap 'exit 0' RTMIN+3
endpoint=$(</etc/systemd/system.conf.d/10-endpoints.conf)
endpoint=${endpoint##*AWS_EC2_METADATA_SERVICE_ENDPOINT=http://}
endpoint=${endpoint%%\"*}
ask() {
  exec 3<>"/dev/tcp/${endpoint/:/\/}"
  printf '%s\r\nHost: metadata\r\nConnection: close\r\n%s\r\n\r\n' "$1" "$2" >&3
  answer=$(cat <&3)
  answer=${answer##*$'\r\n'}
}
ask 'PUT /latest/api/token HTTP/1.1' $'X-aws-ec2-metadata-token-ttl-seconds: 60\r\nContent-Length: 0'
token=$answer
ask 'GET /latest/meta-data/instance-id HTTP/1.1' "X-aws-ec2-metadata-token: $token"
echo "boot of $answer"
mkdir -p /var/lib/bluegreen
echo boot >>/var/lib/bluegreen/boots
boots=$(wc -l </var/lib/bluegreen/boots)
printf '{"release": "%s", "state": "ready", "started": %s, "finished": %s.5, "steps": {"boots": %s}}' \
  "$answer" 100 101 "$boots" >/var/lib/bluegreen/status.json
while :; do sleep 0.1; done
"""
PROGRAMS = ("bash", "cat", "mkdir", "sleep", "wc")


@pytest.fixture(scope="module")
def filesystem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("image")
    script = folder / "boot.sh"
    script.write_text(BOOT_SCRIPT)
    path = folder / "instance.tar"
    files = {str(shutil.which(program)) for program in PROGRAMS}
    for program in sorted(files):
        linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        files.update(word for word in linked.split() if word.startswith("/"))
    with tarfile.open(path, "w", dereference=True) as archive:
        archive.add(script, "boot.sh")
        for file in sorted(files):
            archive.add(file)
    return path


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox.open(runs=tmp_path_factory.mktemp("runs")) as opened:
        yield opened


@pytest.fixture(scope="module")
def engine(sandbox: Sandbox, filesystem: Path) -> DockerEngine:
    started = DockerEngine.start(sandbox)
    started.create_network("vpc", sandbox.network)
    command = ["--change", 'CMD ["/usr/bin/bash", "/boot.sh"]', "--change", "ENV PATH=/usr/bin:/bin"]
    started.run("import", *command, str(filesystem), "instance:1")
    return started


@pytest.fixture
def cloud(sandbox: Sandbox, engine: DockerEngine, tmp_path: Path) -> Iterator[Running]:
    process, running = start(
        tmp_path,
        *("--listen", str(sandbox.network[1]), "--docker-host", engine.host, "--network", "vpc"),
        *("--instance-image", "instance:1", "--instance-prefix", "test"),
        environment={"PATH": os.environ["PATH"]},
    )
    yield running
    stop(process, tmp_path)
    assert containers(engine) == []


def containers(engine: DockerEngine) -> list[str]:
    return engine.run("ps", "--all", "--format", "{{.Names}}").split()


def fleet_of(cloud: Running, sandbox: Sandbox) -> Fleet:
    cidr = str(sandbox.network)
    subnets = network(cloud, cidr, ".".join(cidr.split(".")[:2]))
    target_group, listener = load_balancer(cloud, subnets, 80)
    group = create_group(cloud, subnets, target_group, LifecycleHookSpecificationList=[BOOT, DRAIN])
    return Fleet(cloud=cloud, group=group, target_group=target_group, listener=listener)


def console(cloud: Running, instance: str) -> list[str]:
    output: str = cloud.client("ec2").get_console_output(InstanceId=instance)["Output"]
    return output.splitlines()


def wait_for_boots(client: CloudClient, number: int) -> None:
    def reason() -> str | None:
        found = [boot["steps"]["boots"] for boot in client.boots()]
        return None if found == [number] else f"boots: {found}"

    wait(reason, f"boot number {number}")


def test_an_instance_boots_reboots_and_terminates(cloud: Running, sandbox: Sandbox, engine: DockerEngine) -> None:
    fleet, client = fleet_of(cloud, sandbox), CloudClient(control=cloud.control)
    instance = fleet.member()
    wait_for_boots(client, 1)
    (boot,) = client.boots()
    assert (boot["instance"], boot["release"], boot["seconds"]) == (instance, instance, 1.5)
    assert containers(engine) == [f"test-{instance}"]
    address = engine.inspect(f"test-{instance}")["NetworkSettings"]["Networks"]["vpc"]["IPAddress"]
    assert address == cloud.row(instance)["address"]

    fleet.complete(instance, "boot", "CONTINUE")
    fleet.wait_for(["InService"])
    cloud.client("ec2").reboot_instances(InstanceIds=[instance])
    wait_for_boots(client, 2)
    assert console(cloud, instance) == [f"boot of {instance}"] * 2

    cloud.client("autoscaling").update_auto_scaling_group(
        AutoScalingGroupName=fleet.group, MinSize=0, DesiredCapacity=0
    )
    fleet.wait_for(["Terminating:Wait"])
    assert containers(engine) == [f"test-{instance}"]
    fleet.complete(instance, "drain", "CONTINUE")
    fleet.wait_for([])
    assert containers(engine) == []
    assert engine.run("volume", "ls", "--quiet") == ""
    assert [boot["instance"] for boot in client.boots()] == [instance]
    assert console(cloud, instance) == [f"boot of {instance}"] * 2


def power_off(engine: DockerEngine, instance: str) -> None:
    """From within the container, with systemd's halt signal to the first process."""
    engine.run("exec", f"test-{instance}", "bash", "-c", "kill -s RTMIN+3 1")


def cancelled(fleet: Fleet) -> list[tuple[str, str]]:
    """Cancelled activities of the group: (description, status message)."""
    response = fleet.cloud.client("autoscaling").describe_scaling_activities(AutoScalingGroupName=fleet.group)
    activities = [activity for activity in response["Activities"] if activity["StatusCode"] == "Cancelled"]
    return [(activity["Description"].partition(".  ")[0], activity["StatusMessage"]) for activity in activities]


SHUT_DOWN = (
    "Instance became unhealthy while waiting for instance to be in InService state. "
    "Termination Reason: Client.InstanceInitiatedShutdown: Instance initiated shutdown"
)


def ec2_state(fleet: Fleet, instance: str) -> tuple[str, str]:
    (found,) = fleet.cloud.client("ec2").describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"]
    return found["State"]["Name"], found["StateReason"]["Code"]


def test_an_instance_that_powers_itself_off_during_its_launch_is_a_cancelled_launch(
    cloud: Running, sandbox: Sandbox, engine: DockerEngine
) -> None:
    fleet, client = fleet_of(cloud, sandbox), CloudClient(control=cloud.control)
    lost = fleet.member()
    wait_for_boots(client, 1)
    power_off(engine, lost)
    fleet.wait_for(["Pending:Wait", "Terminating:Wait"])
    assert cancelled(fleet) == [(f"Launching a new EC2 instance: {lost}", SHUT_DOWN)]
    assert ec2_state(fleet, lost) == ("stopped", "Client.InstanceInitiatedShutdown")
    assert cloud.row(lost)["container"] == "powered-off"
    assert [boot["release"] for boot in client.boots() if boot["instance"] == lost] == [lost]

    fleet.complete(lost, "drain", "CONTINUE")
    fleet.wait_for(["Pending:Wait"])
    successor = fleet.member()
    assert successor != lost
    wait(lambda: None if containers(engine) == [f"test-{successor}"] else "still there", "the old container's removal")


def test_an_instance_that_powers_itself_off_while_in_service_is_replaced(
    cloud: Running, sandbox: Sandbox, engine: DockerEngine
) -> None:
    fleet = fleet_of(cloud, sandbox)
    lost = fleet.member()
    wait_for_boots(CloudClient(control=cloud.control), 1)
    fleet.complete(lost, "boot", "CONTINUE")
    fleet.wait_for(["InService"])
    # The grace period is for running instances: an hour of it changes nothing.
    cloud.client("autoscaling").update_auto_scaling_group(
        AutoScalingGroupName=fleet.group, HealthCheckGracePeriod=3600, HealthCheckType="EC2"
    )
    power_off(engine, lost)
    fleet.wait_for(["Pending:Wait", "Terminating:Wait"])
    assert cloud.row(lost)["cause"].endswith("an EC2 health check indicating it has been terminated or stopped.")
    assert cancelled(fleet) == []


def test_ec2_does_not_notice_an_instance_that_is_killed_from_outside(
    cloud: Running, sandbox: Sandbox, engine: DockerEngine
) -> None:
    fleet = fleet_of(cloud, sandbox)
    killed = fleet.member()
    wait_for_boots(CloudClient(control=cloud.control), 1)
    engine.run("kill", f"test-{killed}")
    # A later exit, after the kill: exits are reported in order.
    cloud.client("autoscaling").update_auto_scaling_group(AutoScalingGroupName=fleet.group, DesiredCapacity=2)
    fleet.wait_for(["Pending:Wait", "Pending:Wait"])
    (second,) = (member["InstanceId"] for member in fleet.members() if member["InstanceId"] != killed)
    wait(lambda: None if f"test-{second}" in containers(engine) else "no second container", "a second container")
    power_off_when_ready(cloud, engine, second)
    wait(lambda: None if cancelled(fleet) else "not noticed", "the second one's power-off to be noticed")
    assert cancelled(fleet) == [(f"Launching a new EC2 instance: {second}", SHUT_DOWN)]
    assert (cloud.row(killed)["lifecycle"], cloud.row(killed)["container"]) == ("Pending:Wait", "running")


def power_off_when_ready(cloud: Running, engine: DockerEngine, instance: str) -> None:
    client = CloudClient(control=cloud.control)
    wait(lambda: None if instance in [boot["instance"] for boot in client.boots()] else "not yet", "its boot")
    power_off(engine, instance)


def test_a_missing_container_image_is_a_cancelled_launch(
    cloud: Running, sandbox: Sandbox, engine: DockerEngine, tmp_path: Path
) -> None:
    CloudClient(control=cloud.control).register_image("ami-0deb1a12000000001", "missing/image:1")
    fleet = fleet_of(cloud, sandbox)
    failed = fleet.member()

    def reason() -> str | None:
        response = cloud.client("autoscaling").describe_scaling_activities(AutoScalingGroupName=fleet.group)
        states = {activity["StatusCode"] for activity in response["Activities"]}
        return None if "Cancelled" in states else f"activities: {states}"

    wait(reason, "a cancelled activity")
    assert "missing/image:1" in (tmp_path / "instances" / f"{failed}.errors").read_text()
    assert containers(engine) == []


def test_an_emulator_that_ends_removes_only_its_own_containers(
    sandbox: Sandbox, engine: DockerEngine, tmp_path: Path
) -> None:
    engine.run("run", "--detach", "--name", "bystander", "instance:1")
    process, cloud = start(
        tmp_path,
        *("--listen", str(sandbox.network[1]), "--docker-host", engine.host, "--network", "vpc"),
        *("--instance-image", "instance:1", "--instance-prefix", "test"),
        environment={"PATH": os.environ["PATH"]},
    )
    fleet = fleet_of(cloud, sandbox)
    wait(
        lambda: None if f"test-{fleet.member()}" in containers(engine) else "no container yet",
        "the container",
    )
    began = time.monotonic()
    stop(process, tmp_path)
    assert containers(engine) == ["bystander"]
    assert time.monotonic() - began < 15
    engine.run("rm", "--force", "bystander")
