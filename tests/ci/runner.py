"""Runs a workflow's commands as GitHub's runners would: job by job, step by step, with bash, in a fresh checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.ci.expressions import condition, contains, filled, shown
from tests.ci.workflows import OWN, ROOT, in_order, matrix_of, needs_of, read, workflow
from tests.github import REPOSITORY, TOKEN

STEP_LIMIT_S = 600.0
# What GitHub sets where a test of this project may itself be run.
FOREIGN = ("GITHUB_", "RUNNER_", "ACTIONS_", "CI", "BLUEGREEN_STACK_")


@dataclass
class StepResult:
    """One `run:` that was run; `said` holds both its streams."""

    command: str
    code: int
    said: str
    summary: str


@dataclass
class JobResult:
    """How a job ended: success, failure or skipped. `environment` is the GitHub environment that it asked for."""

    name: str
    result: str = "success"
    outputs: dict[str, str] = field(default_factory=dict)
    steps: list[StepResult] = field(default_factory=list)
    environment: str = ""

    @property
    def commands(self) -> list[str]:
        """The project's commands and make targets, in their order, without their arguments."""
        words = [step.command.split() for step in self.steps]
        return [" ".join(line[:2]).removeprefix("./bluegreen ") for line in words]

    @property
    def summary(self) -> str:
        return "".join(step.summary for step in self.steps)


@dataclass
class Runner:
    """One repository on GitHub, and the machines that its jobs run on."""

    folder: Path
    environment: Mapping[str, str]
    variables: Mapping[str, str]
    check_out: Callable[[Path], None]
    """Puts the tree of the commit into an empty folder."""
    ran: list[JobResult] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.artifacts = self.folder / "artifacts"
        self.tools = self.folder / "tools"
        self.tools.mkdir(parents=True)
        for name, text in SHIMS.items():
            (self.tools / name).write_text(f"#!/bin/sh\n{text}\n")
            (self.tools / name).chmod(0o755)

    def run(
        self, file: str, event: Mapping[str, Any] | None = None, inputs: Mapping[str, Any] | None = None, **github: Any
    ) -> dict[str, JobResult]:
        """All jobs of a workflow; those of workflows that it calls are among them, as `caller/job`."""
        context = {
            "event": event or {},
            "repository": REPOSITORY,
            "ref": "refs/heads/main",
            "event_name": "push",
            "token": TOKEN,
            "run_id": "4711",
            **github,
        }
        self.ran = []
        return self._workflow(file, context, _inputs(file, "workflow_dispatch", inputs or {}))[0]

    def _workflow(
        self, file: str, github: Mapping[str, Any], inputs: Mapping[str, Any]
    ) -> tuple[dict[str, JobResult], dict[str, str]]:
        content = workflow(file)
        done: dict[str, JobResult] = {}
        for name in in_order(content["jobs"]):
            job = content["jobs"][name]
            needs = {one: done[one] for one in needs_of(job)}
            contexts = {"github": github, "vars": self.variables, "inputs": inputs, "needs": _told(needs)}
            good = all(one.result == "success" for one in needs.values())
            for values in matrix_of(job):
                full = f"{name} {' '.join(map(str, values.values()))}".strip()
                done |= self._job(full, job, {**contexts, "matrix": values}, good=good)
            done.setdefault(name, JobResult(name=name))
        told = {"jobs": {name: {"outputs": job.outputs} for name, job in done.items()}}
        outputs = (
            (content["on"].get("workflow_call") or {}).get("outputs", {}) if isinstance(content["on"], dict) else {}
        )
        succeeded = all(job.result == "success" for job in done.values())
        return done, {key: shown(filled(one["value"], told, {})) for key, one in outputs.items() if succeeded}

    def _job(self, name: str, job: Mapping[str, Any], contexts: dict[str, Any], *, good: bool) -> dict[str, JobResult]:
        if not condition(job.get("if", "true"), contexts, _functions(lambda: good, Path())):
            return {name: JobResult(name=name, result="skipped")}
        if "uses" not in job:
            result = Job(runner=self, name=name, job=job, contexts=contexts).run()
            self.ran.append(result)
            return {name: result}
        given = {key: filled(value, contexts, {}) for key, value in job.get("with", {}).items()}
        file = Path(job["uses"]).name
        inner, outputs = self._workflow(file, contexts["github"], _inputs(file, "workflow_call", given))
        ends = {one.result for one in inner.values()}
        result = JobResult(name=name, result="failure" if "failure" in ends else "success", outputs=outputs)
        return {name: result, **{f"{name}/{key}": one for key, one in inner.items()}}


@dataclass
class Job:
    """One job on one machine."""

    runner: Runner
    name: str
    job: Mapping[str, Any]
    contexts: dict[str, Any]
    exported: dict[str, str] = field(default_factory=dict)
    good: bool = True

    def __post_init__(self) -> None:
        number = len(list(self.runner.folder.glob("job-*")))
        self.place = self.runner.folder / f"job-{number:02}"
        self.workspace = self.place / "workspace"
        self.workspace.mkdir(parents=True)
        self.result = JobResult(name=self.name, environment=self._filled(self.job.get("environment", "")))
        self.contexts = {**self.contexts, "steps": {}}
        self.steps: dict[str, Any] = self.contexts["steps"]

    def run(self) -> JobResult:
        env = {key: shown(self._filled(value)) for key, value in self.job.get("env", {}).items()}
        self._steps(self.job["steps"], self.contexts, env)
        self.result.result = "success" if self.good else "failure"
        if self.good:
            self.result.outputs = {k: shown(self._filled(v)) for k, v in self.job.get("outputs", {}).items()}
        return self.result

    def _steps(self, steps: list[Mapping[str, Any]], contexts: dict[str, Any], env: Mapping[str, str]) -> None:
        for step in steps:
            contexts["job"] = {"status": "success" if self.good else "failure"}
            if not condition(step.get("if", "true"), contexts, self._functions()):
                continue
            own = {**env, **{k: shown(self._filled(v, contexts)) for k, v in step.get("env", {}).items()}}
            given = {k: self._filled(v, contexts) for k, v in step.get("with", {}).items()}
            if "run" in step:
                self._run(step, self._filled(step["run"], contexts), own)
            elif step["uses"].startswith(OWN):
                action = read(ROOT / step["uses"] / "action.yml")
                inputs = action["inputs"]
                assert {key for key, each in inputs.items() if each.get("required")} <= set(given) <= set(inputs)
                given = {key: each["default"] for key, each in inputs.items() if "default" in each} | given
                self._steps(action["runs"]["steps"], {**contexts, "inputs": given}, own)
            else:
                STAND_INS[step["uses"].split("@")[0]](self, given)

    def _run(self, step: Mapping[str, Any], command: str, env: Mapping[str, str]) -> None:
        number = len(self.result.steps)
        output, summary = self.place / f"output-{number}", self.place / f"summary-{number}"
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", command],
            cwd=self.workspace,
            env={**self._environment(), **env, "GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=STEP_LIMIT_S,
            check=False,
        )
        self.good &= done.returncode == 0
        told = summary.read_text() if summary.exists() else ""
        self.result.steps.append(StepResult(command, done.returncode, done.stdout, told))
        lines = output.read_text().splitlines() if output.exists() else []
        if "id" in step:
            self.steps[step["id"]] = {"outputs": dict(line.split("=", 1) for line in lines)}

    def _environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
        github = {"GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": REPOSITORY}
        own = {**kept, **github, **self.runner.environment, **self.exported}
        return own | {"PATH": f"{self.runner.tools}:{own['PATH']}"}

    def _functions(self) -> dict[str, Callable[..., Any]]:
        return _functions(lambda: self.good, self.workspace)

    def _filled(self, value: Any, contexts: Mapping[str, Any] | None = None) -> Any:
        return filled(value, contexts or self.contexts, self._functions())

    # -- what stands in for actions --------------------------------------------------------------------------------

    def checkout(self, given: Mapping[str, Any]) -> None:
        assert given["persist-credentials"] is False
        self.runner.check_out(self.workspace)

    def upload(self, given: Mapping[str, Any]) -> None:
        place = self.runner.artifacts / given["name"]
        found = [self.workspace / path for path in given["path"].split() if (self.workspace / path).exists()]
        assert found or given.get("if-no-files-found") != "error", f"nothing to keep at {given['path']}"
        for path in found:
            place.mkdir(parents=True, exist_ok=True)
            # A folder's content comes without the folder, as with the action.
            if path.is_dir():
                shutil.copytree(path, place, dirs_exist_ok=True)
            else:
                shutil.copy(path, place)

    def download(self, given: Mapping[str, Any]) -> None:
        shutil.copytree(self.runner.artifacts / given["name"], self.workspace / given["path"], dirs_exist_ok=True)

    def credentials(self, given: Mapping[str, Any]) -> None:
        """The stage's environment holds credentials; the region is told as the action tells it."""
        assert given["role-to-assume"].startswith("arn:aws:iam::")
        self.exported["AWS_REGION"] = given["aws-region"]

    def present(self, given: Mapping[str, Any]) -> None:
        """A tool that this machine has; a version is pinned all the same."""
        assert all(value for key, value in given.items() if key.endswith("version"))


# Every `uses:` of the workflows, and what it is here. An action that isn't in this table fails the test.
STAND_INS: dict[str, Callable[[Job, Mapping[str, Any]], None]] = {
    "actions/checkout": Job.checkout,
    "actions/upload-artifact": Job.upload,
    "actions/download-artifact": Job.download,
    "aws-actions/configure-aws-credentials": Job.credentials,
    "actions/setup-python": Job.present,
    "actions/setup-go": Job.present,
    "hashicorp/setup-packer": Job.present,
    "pulumi/actions": Job.present,
}
# A verb of the Makefile says here what it would run (and fails when there is no such verb): the verbs themselves run
# the tests, this one among them. Packages of the system are there.
SHIMS = {"make": 'exec /usr/bin/make --dry-run "$@"', "apt-get": 'echo "apt-get $*"'}


def _functions(good: Callable[[], bool], workspace: Path) -> dict[str, Callable[..., Any]]:
    return {
        "contains": contains,
        "success": good,
        "failure": lambda: not good(),
        "cancelled": lambda: False,
        "hashFiles": lambda path: "5f" if (workspace / path).exists() else "",
    }


def _inputs(file: str, trigger: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """With defaults; an input that isn't declared, a choice that isn't offered, or one that is missing fails."""
    on = workflow(file)["on"]
    declared: dict[str, Any] = ((on.get(trigger) or {}) if isinstance(on, dict) else {}).get("inputs", {})
    assert set(given) <= set(declared), f"{file} knows no input {set(given) - set(declared)}"
    for name, one in declared.items():
        assert name in given or not one.get("required"), f"{file} needs {name}"
        assert given.get(name) in one.get("options", [given.get(name)]), (
            f"{file}: {name} is one of {one.get('options')}"
        )
    return {name: given.get(name, one.get("default")) for name, one in declared.items()} if given else {}


def _told(needs: Mapping[str, JobResult]) -> dict[str, Any]:
    return {name: {"outputs": job.outputs, "result": job.result} for name, job in needs.items()}
