"""Observer: polls emulator, load generator, deployment history and Pulumi's backend once a second for the page."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3

from ami.boot.messages import Outcome
from fleet.state import client, describe
from rehearsal.environment import REGION, Environment
from rehearsal.playground import overview
from rehearsal.playground.board import Board
from scripts.stack import history

TICK_S = 1.0
SLOW_EVERY = 3  # ticks between polls of sources that change by the minute
IDLE_EVERY = 3  # ticks between polls while no page is open
WATCHED_S = 10.0

log = logging.getLogger(__name__)


class StatusFeed:
    """New lines of the load generator's status.jsonl, across rotations."""

    def __init__(self, file: Path) -> None:
        self._file, self._inode, self._offset = file, 0, 0

    def read(self) -> list[dict[str, Any]]:
        try:
            status = self._file.stat()
        except FileNotFoundError:
            return []
        if status.st_ino != self._inode or status.st_size < self._offset:
            self._inode, self._offset = status.st_ino, 0
        with self._file.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
        complete = text[: text.rfind(b"\n") + 1]
        self._offset += len(complete)
        return [json.loads(line) for line in complete.splitlines()]


class UpdateFeed:
    """Updates in the history of Pulumi's file backend, and whether one is running."""

    def __init__(self, backend: Path, stack: str) -> None:
        self._backend, self._stack = backend / ".pulumi", stack
        self._seen: set[str] = set()

    def read(self) -> list[dict[str, Any]]:
        fresh = [file for file in self._files() if file.name not in self._seen]
        updates = []
        for file in fresh:
            try:
                updates.append(json.loads(file.read_text()))
            except (OSError, ValueError):
                continue  # being written
            self._seen.add(file.name)
        return updates

    def running(self) -> bool:
        """Whether the stack is locked; a killed run may leave its lock behind."""
        return any(self._backend.glob(f"locks/**/{self._stack}/*.json"))

    def _files(self) -> list[Path]:
        return sorted(self._backend.glob(f"history/**/{self._stack}/*.history.json"))


@dataclass(kw_only=True)
class LiveListenerRule:
    """The live listener rule and the colors of its target groups."""

    arn: str
    colors: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Folder of the load generator, folder of Pulumi's file backend, bucket with the deployment history."""

    load: Path
    backend: Path
    bucket: str


class Observer:
    """Polls in its own thread, from `start` until `close`. A failing source affects only its part of the page."""

    def __init__(self, environment: Environment, board: Board, sources: Sources) -> None:
        self._environment, self._board, self._bucket = environment, board, sources.bucket
        self._load = StatusFeed(sources.load / "status.jsonl")
        self._updates = UpdateFeed(sources.backend, environment.options.stack)
        self._updates.read()  # skip those of the start
        self._session: Any = boto3.Session(region_name=REGION)
        self._rule: LiveListenerRule | None = None
        self._weights: dict[str, int] = {}
        self._groups: list[dict[str, Any]] = []
        self._instances: dict[str, dict[str, Any]] | None = None
        self._alarms: dict[str, str] | None = None
        self._last_message, self._last_record = 0, ""
        self._exited: set[str] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        tick = 0
        while not self._stopped.wait(TICK_S):
            tick += 1
            if self._board.is_watched(WATCHED_S) or tick % IDLE_EVERY == 0:
                self.observe(slow=tick % SLOW_EVERY == 0)

    def observe(self, *, slow: bool = True) -> None:
        """Poll every source once; `slow`: also those that change by the minute."""
        for source in (self._read_processes, self._read_load, self._read_weights, self._read_instances):
            self._guarded(source)
        if slow:
            for source in (
                self._read_groups,
                self._read_alarms,
                self._read_notifications,
                self._read_history,
                self._read_updates,
            ):
                self._guarded(source)

    def _guarded(self, source: Callable[[], None]) -> None:
        try:
            source()
        except Exception as error:  # an injected fault may affect the emulator, and it stops first in the teardown
            log.info("observe failed source=%s error=%s", source.__name__.strip("_"), error)

    def _read_processes(self) -> None:
        exited = self._environment.exited_processes()
        for reason in set(exited) - self._exited:
            self._board.log("bad", f"a process of the playground exited: {reason}")
        self._exited |= set(exited)
        self._board.update(problems=sorted(exited))

    def _read_load(self) -> None:
        self._board.add_traffic(overview.traffic_row(status, self._weights) for status in self._load.read())

    def _read_weights(self) -> None:
        rule = self._rule = self._rule or self._find_rule()
        if rule is None:
            return
        described = self._client("elbv2").describe_rules(RuleArns=[rule.arn])["Rules"][0]
        weights = overview.weights_of(described, rule.colors)
        self._log(overview.weight_change(self._weights, weights))
        self._weights = weights

    def _find_rule(self) -> LiveListenerRule | None:
        fleet = describe(self._environment.options.stack, self._session)
        if not fleet.live_rule_arn:
            return None
        colors = {side.target_group_arn: color.value for color, side in fleet.colors.items()}
        return LiveListenerRule(arn=fleet.live_rule_arn, colors=colors)

    def _read_instances(self) -> None:
        state = self._environment.cloud.state()
        if booting := [row["instance"] for row in state["instances"] if overview.is_booting(row)]:
            self._environment.cloud.refresh_boot_records(booting)
        rows = {row["instance"]: overview.instance_row(row) for row in state["instances"]}
        if self._instances is not None:
            self._log(overview.instance_changes(self._instances, rows))
        self._instances = rows
        self._board.update(colors=overview.color_rows(rows.values(), self._weights, self._groups))

    def _read_groups(self) -> None:
        described = self._client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
        self._groups = overview.group_rows(described, self._environment.options.stack)

    def _read_alarms(self) -> None:
        kinds = ["MetricAlarm", "CompositeAlarm"]
        rows = overview.alarm_rows(self._client("cloudwatch").describe_alarms(AlarmTypes=kinds, MaxRecords=100))
        self._log(overview.alarm_changes(self._alarms, rows))
        self._alarms = {row["name"]: row["state"] for row in rows}
        self._board.update(alarms=rows)

    def _read_notifications(self) -> None:
        fresh = self._environment.cloud.sns_messages_after(self._last_message)
        self._last_message = max((message.number for message in fresh), default=self._last_message)
        self._board.add_notifications(
            overview.notification_row(message.number, message.time.timestamp(), message.subject, message.message)
            for message in fresh
        )
        self._log(overview.undelivered(fresh))

    def _read_history(self) -> None:
        records = history.read(self._client("s3"), self._bucket, self._environment.options.stack)
        new = [record for record in records if record.time > self._last_record and record.time != "-"]
        for record in reversed(new):
            kind = "script" if record.outcome == Outcome.OK else "bad"
            at = datetime.fromisoformat(record.time).timestamp()
            self._board.log(kind, record.summary, at=at)
            self._last_record = record.time

    def _read_updates(self) -> None:
        for update in self._updates.read():
            kind = "pulumi" if update.get("result") == "succeeded" else "bad"
            self._board.log(kind, overview.update_text(update), at=float(update.get("endTime") or time.time()))
        self._board.update(updating=self._updates.running())

    def _log(self, changes: Iterable[tuple[str, str]]) -> None:
        for kind, text in changes:
            self._board.log(kind, text)

    def _client(self, service: str) -> Any:
        return client(self._session, service, fail_fast=True)
