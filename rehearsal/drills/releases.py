"""Releases of the sample that are broken in one way each, and machine images likewise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ami.boot.user_data import bundle_key
from rehearsal.drills.drill import DrillError
from rehearsal.drills.fixture import Scene

BIG_BYTES = 40 << 20
SMALL_DISK = "12m"  # room for the bundle, which packs those zeros well, not for its files
AGENT = "/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl"
# It tells its secrets as it dies, as apps do: people get its last lines without them.
EXITS = 'config = Config.read()\n    print("connect to", config.database_url, flush=True)\n    raise SystemExit(3)'


def edited(name: str, before: str, after: str) -> Callable[[Scene], str]:
    """Publishes the sample with one text of its app.py in the place of another; the version."""

    def change(folder: Path) -> None:
        file = folder / "app.py"
        text = file.read_text()
        if before not in text:
            raise DrillError(f"{file} has no {before!r} to change")
        file.write_text(text.replace(before, after))

    return lambda scene: scene.publish(name, change)


exits_at_once = edited("exits", "config = Config.read()", EXITS)
never_healthy = edited("unwell", "status=200 if ok else 503", "status=503")
wrong_release = edited("wrong", '"failing", "release": self.config.release', '"failing", "release": "v0"')

# As an app may do without its database: the part of the answer that needs it is missing, the rest is there.
NO_VISITS = '{"error": "the database does not answer"}, '
degrading = edited("degrading", f"{NO_VISITS}status=503", f"{NO_VISITS}status=200")
# Counted, so that a few requests are always good, and only while the last three came within a second.
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
# An eighth of a megabyte with each answer, which its logger remembers for good. With each, whatever was asked: of two
# machines in turn, one may get all requests for the one path, and the other those for the other.
SIGN = '        answer.headers["X-Release"]'
LEAK = '        vars(log).setdefault("kept", []).append(b"x" * (128 << 10))'
leaking = edited("leaking", SIGN, f"{LEAK}\n{SIGN}")


def sound(scene: Scene) -> str:
    """Nothing is wrong with it but what happens to its machine."""
    return scene.publish("sound")


def needs_database(scene: Scene) -> str:
    """It names its database's host, and without DATABASE_URL its deep check fails."""

    def change(folder: Path) -> None:
        file, unset = folder / "Dockerfile", 'DATABASE_HOST=""'
        text = file.read_text()
        if unset not in text:
            raise DrillError(f"{file} has no {unset} to change")
        file.write_text(text.replace(unset, f'DATABASE_HOST="{scene.stage.database.host}"'))

    return scene.publish("needs-database", change)


def bucket(scene: Scene) -> str:
    return str(scene.stage.stack.outputs()["artifactsBucket"].value)


def corrupt(scene: Scene) -> str:
    """One byte of the stored bundle is another one."""
    version = scene.publish("corrupt")
    s3, place = scene.stage.client("s3"), {"Bucket": bucket(scene), "Key": bundle_key(version)}
    body = bytearray(s3.get_object(**place)["Body"].read())
    body[len(body) // 2] ^= 0xFF
    s3.put_object(**place, Body=bytes(body))
    return version


def gone(scene: Scene) -> str:
    """Published, then deleted."""
    version = scene.publish("gone")
    scene.stage.client("s3").delete_object(Bucket=bucket(scene), Key=bundle_key(version))
    return version


def unbuildable(scene: Scene) -> str:
    """By a build that fails by itself, whatever its base image is."""

    def change(folder: Path) -> None:
        (folder / "Dockerfile").write_text("FROM scratch\nCOPY app.py /\nCOPY no-such-file /\n")

    return scene.publish("unbuildable", change)


def big(scene: Scene) -> str:
    """Small in the bucket, big on a disk."""

    def change(folder: Path) -> None:
        (folder / "zeros").write_bytes(bytes(BIG_BYTES))

    return scene.publish("big", change)


def small_disk(scene: Scene) -> str:
    """The AMI of machines on which a release finds little room."""
    line = f"tmpfs /var/lib/bluegreen tmpfs size={SMALL_DISK} 0 0"
    return machine_image(scene, "small-disk", f"RUN echo '{line}' >>/etc/fstab")


def dead_agent(scene: Scene) -> str:
    """The AMI of machines whose log agent ends at once."""
    script = f"mkdir -p {Path(AGENT).parent} && printf '#!/bin/sh\\nexit 1\\n' >{AGENT} && chmod 755 {AGENT}"
    return machine_image(scene, "dead-agent", f"RUN {script}")


def machine_image(scene: Scene, name: str, *instructions: str) -> str:
    """The run's machine image with these Dockerfile instructions on top; the id of its own AMI."""
    docker = scene.stage.docker
    with docker.scratch(name) as folder:
        (Path(folder) / "Dockerfile").write_text("\n".join([f"FROM {scene.image}", *instructions]) + "\n")
        docker.run("build", "--network", "none", "--tag", f"bluegreen-{name}", folder)
    ami = str(scene.stage.client("ec2").register_image(Name=f"bluegreen-{name}", RootDeviceName="/dev/xvda")["ImageId"])
    scene.cloud.register_image(ami, f"bluegreen-{name}")
    return ami
