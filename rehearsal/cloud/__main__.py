"""`python -m rehearsal.cloud`: the rehearsal's AWS until SIGTERM; then every machine of it is removed."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path

PASSWORD_VARIABLE = "BLUEGREEN_REGISTRY_PASSWORD"  # noqa: S105 - its name, not its value
SOURCE_AMIS = Path(__file__).parent / "source_amis.json"


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="python -m rehearsal.cloud", description=__doc__)
    found.add_argument("--listen", required=True, help="address of the emulated AWS and its metadata service")
    found.add_argument("--port", type=int, default=0, help="of the emulated AWS; 0: any free port")
    found.add_argument("--metadata-port", type=int, default=0, help="of the metadata service; 0: any free port")
    found.add_argument("--state-dir", type=Path, required=True, help="folder for what machines need and leave behind")
    found.add_argument("--ready-file", type=Path, help="written with the endpoints, as JSON, once all answer")
    found.add_argument("--dns-name", default="", help="what load balancers say their name is")
    found.add_argument("--front-door", default="", help="address at which load balancers listen; none: no front door")
    found.add_argument("--docker-host", default="", help="where machines run; none: they exist in name only")
    found.add_argument("--network", default="", help="the Docker network of machines")
    found.add_argument("--machine-image", default="", help="image of machines whose AMI nobody named")
    found.add_argument("--machine-prefix", default="machine", help="begins the machines' names; one cloud, one prefix")
    found.add_argument("--registry", default="", help=f"host:port that is ECR; password in ${PASSWORD_VARIABLE}")
    found.add_argument("--registry-certificate", type=Path, help="that machines are to trust")
    found.add_argument("--hold-hooks", action="store_true", help="machines in name only don't answer lifecycle hooks")
    found.add_argument("--warm", action="store_true", help="load the code of all services right after the start")
    return found


def main() -> int:
    arguments = vars(parser().parse_args())
    ready: Path | None = arguments.pop("ready_file")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
    # moto reads its list of images when it is imported; its own has hundreds and takes seconds.
    os.environ.setdefault("MOTO_AMIS_PATH", str(SOURCE_AMIS))
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())

    from rehearsal.cloud.cloud import Cloud, Options

    cloud = Cloud(Options(**arguments, registry_password=os.environ.get(PASSWORD_VARIABLE, "")))
    try:
        _announce(ready, cloud.endpoints())
        stopped.wait()
    finally:
        cloud.close()
    return 0


def _announce(ready: Path | None, endpoints: dict[str, str]) -> None:
    text = json.dumps(endpoints | {"pid": os.getpid()}, default=str)
    print(text, flush=True)  # noqa: T201 - for whoever started it by hand
    if ready:
        partial = ready.with_suffix(".partial")
        partial.write_text(text)
        partial.replace(ready)  # so that whoever waits for it never reads half


if __name__ == "__main__":
    sys.exit(main())
