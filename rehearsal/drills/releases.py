"""Broken releases of the sample, and broken instance images, one fault each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ami.boot.user_data import bundle_key
from rehearsal.drills.drill import DrillError
from rehearsal.drills.fixture import Fixture

BIG_BYTES = 40 << 20
SMALL_DISK = "12m"  # enough for the bundle, which compresses the zeros, not for its files
AGENT = "/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl"
# Prints a secret before it exits, as apps do: the notification must mask it.
EXITS = 'config = Config.read()\n    print("connect to", config.database_url, flush=True)\n    raise SystemExit(3)'


def edited(name: str, before: str, after: str) -> Callable[[Fixture], str]:
    """Publish the sample with one text of its app.py replaced; the version."""

    def change(folder: Path) -> None:
        file = folder / "app.py"
        text = file.read_text()
        if before not in text:
            raise DrillError(f"{file} has no {before!r} to change")
        file.write_text(text.replace(before, after))

    return lambda fixture: fixture.publish(name, change)


exits_at_once = edited("exits", "config = Config.read()", EXITS)
never_healthy = edited("unhealthy", "status=200 if ok else 503", "status=503")
wrong_release = edited("wrong", '"failing", "release": self.config.release', '"failing", "release": "v0"')

# Graceful degradation without the database: the part of the response that needs it is missing.
NO_VISITS = '{"error": "the database does not answer"}, '
degrading = edited("degrading", f"{NO_VISITS}status=503", f"{NO_VISITS}status=200")
# Every tenth request fails, and only under load: when the last three came within a second.
UNSTEADY = """    from collections import deque
    from itertools import count
    from time import monotonic

    recent, numbers = deque([float("-inf")], maxlen=3), count(1)

    @web.middleware
    async def unsteady(request, handler):
        if request.path == config.health_path:
            return await handler(request)
        recent.append(monotonic())
        busy = len(recent) == 3 and recent[-1] - recent[0] < 1
        return web.Response(status=500) if busy and next(numbers) % 10 == 0 else await handler(request)

    app = web.Application(middlewares=[unsteady])
"""
unsteady = edited("unsteady", "    app = web.Application()\n", UNSTEADY)
# Leaks 128 KiB per response on every path: with round-robin, an instance may get all requests for the same path.
SIGN = '        response.headers["X-Release"]'
LEAK = '        vars(log).setdefault("kept", []).append(b"x" * (128 << 10))'
leaking = edited("leaking", SIGN, f"{LEAK}\n{SIGN}")


def good_release(fixture: Fixture) -> str:
    """For faults outside the release."""
    return fixture.publish("good")


def needs_database(fixture: Fixture) -> str:
    """Names its database host; without DATABASE_URL its deep health check fails."""

    def change(folder: Path) -> None:
        file, unset = folder / "Dockerfile", 'DATABASE_HOST=""'
        text = file.read_text()
        if unset not in text:
            raise DrillError(f"{file} has no {unset} to change")
        file.write_text(text.replace(unset, f'DATABASE_HOST="{fixture.environment.database.host}"'))

    return fixture.publish("needs-database", change)


def bucket(fixture: Fixture) -> str:
    return str(fixture.environment.stack.outputs()["artifactsBucket"].value)


def corrupt_bundle(fixture: Fixture) -> str:
    """One byte of the stored bundle is changed."""
    version = fixture.publish("corrupt")
    s3, location = fixture.environment.client("s3"), {"Bucket": bucket(fixture), "Key": bundle_key(version)}
    body = bytearray(s3.get_object(**location)["Body"].read())
    body[len(body) // 2] ^= 0xFF
    s3.put_object(**location, Body=bytes(body))
    return version


def deleted_bundle(fixture: Fixture) -> str:
    """Published, then deleted from the bucket."""
    version = fixture.publish("deleted")
    fixture.environment.client("s3").delete_object(Bucket=bucket(fixture), Key=bundle_key(version))
    return version


def unbuildable(fixture: Fixture) -> str:
    """Its image build fails, whatever the base image."""

    def change(folder: Path) -> None:
        (folder / "Dockerfile").write_text("FROM scratch\nCOPY app.py /\nCOPY no-such-file /\n")

    return fixture.publish("unbuildable", change)


def oversized_bundle(fixture: Fixture) -> str:
    """Small in the bucket, large when unpacked."""

    def change(folder: Path) -> None:
        (folder / "zeros").write_bytes(bytes(BIG_BYTES))

    return fixture.publish("oversized", change)


def small_disk(fixture: Fixture) -> str:
    """AMI of instances with little disk space for a release."""
    line = f"tmpfs /var/lib/bluegreen tmpfs size={SMALL_DISK} 0 0"
    return instance_image(fixture, "small-disk", f"RUN echo '{line}' >>/etc/fstab")


def dead_agent(fixture: Fixture) -> str:
    """AMI of instances whose log agent exits at once."""
    script = f"mkdir -p {Path(AGENT).parent} && printf '#!/bin/sh\\nexit 1\\n' >{AGENT} && chmod 755 {AGENT}"
    return instance_image(fixture, "dead-agent", f"RUN {script}")


def instance_image(fixture: Fixture, name: str, *instructions: str) -> str:
    """Build and register an instance image with these Dockerfile instructions on top; its AMI id."""
    docker = fixture.environment.docker
    with docker.scratch(name) as folder:
        (Path(folder) / "Dockerfile").write_text("\n".join([f"FROM {fixture.image}", *instructions]) + "\n")
        docker.run("build", "--network", "none", "--tag", f"bluegreen-{name}", folder)
    ec2 = fixture.environment.client("ec2")
    ami = str(ec2.register_image(Name=f"bluegreen-{name}", RootDeviceName="/dev/xvda")["ImageId"])
    fixture.cloud.register_image(ami, f"bluegreen-{name}")
    return ami
