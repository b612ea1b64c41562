"""AWS emulator as a command, `python -m rehearsal.cloud`: it runs until SIGTERM, then removes all of its instances."""

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
    result = argparse.ArgumentParser(prog="python -m rehearsal.cloud", description=__doc__)
    result.add_argument("--listen", required=True, help="address of the AWS endpoint and of the metadata service")
    result.add_argument("--port", type=int, default=0, help="port of the AWS endpoint; 0: any free port")
    result.add_argument("--metadata-port", type=int, default=0, help="port of the metadata service; 0: any free port")
    result.add_argument(
        "--state-dir", type=Path, required=True, help="folder for instances' config files, logs, records"
    )
    result.add_argument("--ready-file", type=Path, help="file to write the endpoints to, as JSON, once all are ready")
    result.add_argument("--dns-name", default="", help="DNS name of the load balancers")
    result.add_argument(
        "--load-balancer", default="", help="address on which load balancers listen; default: none runs"
    )
    result.add_argument("--docker-host", default="", help="Docker daemon that runs instances; default: none is run")
    result.add_argument("--network", default="", help="Docker network of the instances")
    result.add_argument("--instance-image", default="", help="container image for AMIs that were not registered")
    result.add_argument("--instance-prefix", default="instance", help="prefix of container names, unique per emulator")
    result.add_argument(
        "--registry", default="", help=f"host:port of the registry for ECR; password in ${PASSWORD_VARIABLE}"
    )
    result.add_argument(
        "--registry-certificate", type=Path, help="CA certificate of the registry, for instances to trust"
    )
    result.add_argument("--hold-hooks", action="store_true", help="without Docker: leave lifecycle hooks to the caller")
    result.add_argument("--preload", action="store_true", help="load the code of all services right after the start")
    return result


def main() -> int:
    arguments = vars(parser().parse_args())
    ready: Path | None = arguments.pop("ready_file")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
    # moto reads its list of images when it is imported; its own has hundreds and takes seconds.
    os.environ.setdefault("MOTO_AMIS_PATH", str(SOURCE_AMIS))
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())

    from rehearsal.cloud.emulator import CloudEmulator, EmulatorOptions

    emulator = CloudEmulator(EmulatorOptions(**arguments, registry_password=os.environ.get(PASSWORD_VARIABLE, "")))
    try:
        _publish_endpoints(ready, emulator.endpoints())
        stopped.wait()
    finally:
        emulator.close()
    return 0


def _publish_endpoints(ready: Path | None, endpoints: dict[str, str]) -> None:
    text = json.dumps(endpoints | {"pid": os.getpid()}, default=str)
    print(text, flush=True)  # noqa: T201 - for a person who starts it by hand
    if ready:
        partial = ready.with_suffix(".partial")
        partial.write_text(text)
        partial.replace(ready)  # atomic: a waiting reader never sees half of it


if __name__ == "__main__":
    sys.exit(main())
