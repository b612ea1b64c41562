"""The observer: once a second it reads emulator, load generator, history and Pulumi's backend onto the board."""

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
from checks.fleet import client, describe
from rehearsal.environment import REGION, Stage
from rehearsal.playground import overview
from rehearsal.playground.board import Board
from scripts import history

TICK_S = 1.0
SELDOM = 3  # every so many ticks: what changes by the minute
UNWATCHED = 3  # and every so many ticks all of it, while no page is open
WATCHED_S = 10.0

log = logging.getLogger(__name__)


class StatusFeed:
    """New lines of the load generator's status.jsonl, also across its rotation."""

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
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [json.loads(line) for line in whole.splitlines()]


class UpdateFeed:
    """Updates that Pulumi's file backend has recorded, and whether one is running."""

    def __init__(self, backend: Path, stack: str) -> None:
        self._backend, self._stack = backend / ".pulumi", stack
        self._seen: set[str] = set()

    def read(self) -> list[dict[str, Any]]:
        fresh = [file for file in self._files() if file.name not in self._seen]
        found = []
        for file in fresh:
            try:
                found.append(json.loads(file.read_text()))
            except (OSError, ValueError):
                continue  # being written
            self._seen.add(file.name)
        return found

    def running(self) -> bool:
        """As the lock says, which a killed run may leave behind."""
        return any(self._backend.glob(f"locks/**/{self._stack}/*.json"))

    def _files(self) -> list[Path]:
        return sorted(self._backend.glob(f"history/**/{self._stack}/*.history.json"))


@dataclass(kw_only=True)
class Rule:
    """The live listener rule, once found, and the colors of its target groups."""

    arn: str
    colors: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Beside the stage: folder of the load generator, folder of Pulumi's file backend, bucket with the history."""

    load: Path
    backend: Path
    bucket: str


class Observer:
    """In a thread of its own, from `start` until `close`. A source that fails costs its part of the page only."""

    def __init__(self, stage: Stage, board: Board, sources: Sources) -> None:
        self._stage, self._board, self._bucket = stage, board, sources.bucket
        self._load = StatusFeed(sources.load / "status.jsonl")
        self._updates = UpdateFeed(sources.backend, stage.options.stack)
        self._updates.read()  # those of the start are no news
        self._session: Any = boto3.Session(region_name=REGION)
        self._rule: Rule | None = None
        self._weights: dict[str, int] = {}
        self._groups: list[dict[str, Any]] = []
        self._instances: dict[str, dict[str, Any]] | None = None
        self._alarms: dict[str, str] | None = None
        self._notified, self._recorded = 0, ""
        self._fallen: set[str] = set()
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
            if self._board.is_watched(WATCHED_S) or tick % UNWATCHED == 0:
                self.look(seldom=tick % SELDOM == 0)

    def look(self, *, seldom: bool = True) -> None:
        """Read every source once; `seldom`: also those that change by the minute."""
        for source in (self._see_parts, self._see_load, self._see_weights, self._see_instances):
            self._guarded(source)
        if seldom:
            for source in (self._see_groups, self._see_alarms, self._see_notices, self._see_history, self._see_updates):
                self._guarded(source)

    def _guarded(self, source: Callable[[], None]) -> None:
        try:
            source()
        except Exception as error:  # a fault may have the emulator refuse, and at the end it goes first
            log.info("observe failed source=%s error=%s", source.__name__.strip("_"), error)

    def _see_parts(self) -> None:
        fallen = self._stage.fallen()
        for reason in set(fallen) - self._fallen:
            self._board.log("bad", f"a part of the playground is gone: {reason}")
        self._fallen |= set(fallen)
        self._board.update(problems=sorted(fallen))

    def _see_load(self) -> None:
        self._board.add_traffic(overview.traffic_row(status, self._weights) for status in self._load.read())

    def _see_weights(self) -> None:
        rule = self._rule = self._rule or self._find_rule()
        if rule is None:
            return
        described = self._client("elbv2").describe_rules(RuleArns=[rule.arn])["Rules"][0]
        weights = overview.weights_of(described, rule.colors)
        self._log(overview.weight_change(self._weights, weights))
        self._weights = weights

    def _find_rule(self) -> Rule | None:
        fleet = describe(self._stage.options.stack, self._session)
        if not fleet.live_rule_arn:
            return None
        colors = {side.target_group_arn: color.value for color, side in fleet.sides.items()}
        return Rule(arn=fleet.live_rule_arn, colors=colors)

    def _see_instances(self) -> None:
        state = self._stage.cloud.state()
        if booting := [row["instance"] for row in state["instances"] if overview.is_booting(row)]:
            self._stage.cloud.refresh_boots(booting)
        rows = {row["instance"]: overview.instance_row(row) for row in state["instances"]}
        if self._instances is not None:
            self._log(overview.instance_changes(self._instances, rows))
        self._instances = rows
        self._board.update(colors=overview.color_rows(rows.values(), self._weights, self._groups))

    def _see_groups(self) -> None:
        described = self._client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
        self._groups = overview.group_rows(described, self._stage.options.stack)

    def _see_alarms(self) -> None:
        kinds = ["MetricAlarm", "CompositeAlarm"]
        rows = overview.alarm_rows(self._client("cloudwatch").describe_alarms(AlarmTypes=kinds, MaxRecords=100))
        self._log(overview.alarm_changes(self._alarms, rows))
        self._alarms = {row["name"]: row["state"] for row in rows}
        self._board.update(alarms=rows)

    def _see_notices(self) -> None:
        fresh = self._stage.cloud.notices_after(self._notified)
        self._notified = max((one.number for one in fresh), default=self._notified)
        self._board.add_notifications(
            overview.notification_row(one.number, one.time.timestamp(), one.subject, one.message) for one in fresh
        )
        self._log(overview.undelivered(fresh))

    def _see_history(self) -> None:
        records = history.read(self._client("s3"), self._bucket, self._stage.options.stack)
        for record in reversed([one for one in records if one.time > self._recorded and one.time != "-"]):
            kind = "script" if record.outcome == Outcome.OK else "bad"
            at = datetime.fromisoformat(record.time).timestamp()
            self._board.log(kind, record.summary, at=at)
            self._recorded = record.time

    def _see_updates(self) -> None:
        for update in self._updates.read():
            kind = "pulumi" if update.get("result") == "succeeded" else "bad"
            self._board.log(kind, overview.update_text(update), at=float(update.get("endTime") or time.time()))
        self._board.update(updating=self._updates.running())

    def _log(self, changes: Iterable[tuple[str, str]]) -> None:
        for kind, text in changes:
            self._board.log(kind, text)

    def _client(self, service: str) -> Any:
        return client(self._session, service, impatient=True)
