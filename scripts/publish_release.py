"""Publication of a release: its bundle and release.json in the artifacts bucket, immutable."""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from ami.boot.unpack import BundleKind
from ami.boot.user_data import VERSION, bundle_key
from scripts.cli.display import Display, exit_codes
from scripts.cli.exits import RefusedError, UsageError
from scripts.cli.options import JsonOption, StackOption, app
from scripts.releases.bucket import Migration, ReleaseManifest, bundle_url, find, manifest_key
from scripts.releases.bundle import build_image, digest, image_entries, pack, save_image, source_entries

BUNDLE, MANIFEST = "bundle.tar.gz", "release.json"

# Also of `release`, which begins with a publication.
FolderArgument = Annotated[
    Path, typer.Argument(exists=True, file_okay=False, help="The folder with the release's Dockerfile.")
]
VersionOption = Annotated[str, typer.Option(help="The release's name; default: `git describe`, if all is committed.")]
KindOption = Annotated[BundleKind, typer.Option(help="source: built on the instance; image: built here, loaded there.")]
MigrationOption = Annotated[
    Migration, typer.Option(help="What the release does to the database; a breaking one rules out a rollback.")
]


@dataclass(frozen=True, kw_only=True)
class PublishArgs:
    """The folder or image to publish, and its version."""

    folder: Path
    bucket: str
    version: str
    commit: str = ""
    kind: BundleKind = BundleKind.SOURCE
    migration: Migration = Migration.NONE
    image: str = ""
    """For kind image: a local Docker image; empty builds the folder."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A release in the bucket; `created` is False where the same bytes were published before."""

    release: ReleaseManifest
    url: str
    created: bool


def publish(s3: Any, args: PublishArgs, display: Display) -> Published:
    """Pack and store the release; raises RefusedError where the version exists with other bytes."""
    with tempfile.TemporaryDirectory(prefix="bluegreen-publish-") as folder:
        release = pack_release(args, Path(folder), display)
        return store(s3, args.bucket, release, Path(folder) / BUNDLE, display)


def pack_release(args: PublishArgs, folder: Path, display: Display) -> ReleaseManifest:
    """Write bundle and release.json into a folder, ready for any number of buckets."""
    require_version(args.version)
    release = ReleaseManifest(version=args.version, commit=args.commit, kind=args.kind, migration=args.migration)
    folder.mkdir(parents=True, exist_ok=True)
    with display.stage(f"pack {args.folder}"), tempfile.TemporaryDirectory(prefix="bluegreen-pack-") as scratch:
        sha256, size = pack(_entries(args, Path(scratch)), release, folder / BUNDLE)
    created = datetime.now(UTC).isoformat(timespec="milliseconds")
    release = replace(release, sha256=sha256, size=size, created=created)
    (folder / MANIFEST).write_bytes(release.to_json())
    return release


def packed_release(folder: Path, sha256: str) -> ReleaseManifest:
    """The release that `pack_release` wrote into a folder; raises RefusedError where the checksum differs."""
    try:
        release = ReleaseManifest.parse(json.loads((folder / MANIFEST).read_text()))
        found = digest(folder / BUNDLE)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{folder} holds no packed release, as --pack-into writes it: {error}") from error
    require_version(release.version)
    if found != (sha256 or release.sha256) or found != release.sha256:
        raise RefusedError(
            f"{folder / BUNDLE} has the sha256 {found}, but {sha256 or release.sha256} was packed: "
            "nothing was published"
        )
    return release


def store(s3: Any, bucket: str, release: ReleaseManifest, archive: Path, display: Display) -> Published:
    """Write a packed release into a bucket, once."""
    with display.stage(f"store {release.size:,} bytes as {release.version}"):
        created = _store_bundle(s3, bucket, release, archive)
        stored = _store_manifest(s3, bucket, release)
    return Published(release=stored, url=bundle_url(bucket, release.version), created=created)


def require_version(version: str) -> None:
    if not VERSION.fullmatch(version):
        raise UsageError(f"version {version!r}: must match {VERSION.pattern}, for example v1.2.3 or 2024-06-01.4")


def git_version(folder: Path) -> str:
    """`git describe` of the folder's commit; raises UsageError where the folder has uncommitted changes."""
    described = _git(folder, "describe", "--tags", "--always")
    if _changes(folder):
        raise UsageError(
            f"{folder} has changes that aren't committed, so {described} isn't what it holds; "
            "commit them, or name the release with --version"
        )
    return described


def git_commit(folder: Path) -> str:
    """The last commit that touched the folder; empty where it has uncommitted changes.

    Not HEAD: a commit elsewhere must not change the bytes of a release.
    """
    try:
        return "" if _changes(folder) else _git(folder, "log", "-1", "--format=%H", ".")
    except UsageError:
        return ""


def _changes(folder: Path) -> str:
    """Uncommitted changes of this folder alone: each deploy changes the stack's config file, which no release holds."""
    return _git(folder, "status", "--porcelain", "--", ".")


def _git(folder: Path, *args: str) -> str:
    try:
        run = subprocess.run(["git", "-C", str(folder), *args], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise UsageError("git is not installed: name the release with --version") from error
    if run.returncode:
        raise UsageError(f"git can't name what {folder} holds ({run.stderr.strip()}): use --version")
    return run.stdout.strip()


def _entries(args: PublishArgs, folder: Path) -> Any:
    if args.kind is BundleKind.SOURCE:
        return source_entries(args.folder)
    reference, saved = args.image or f"release:{args.version}", folder / "image.tar"
    if not args.image:
        build_image(args.folder, reference)
    save_image(reference, saved)
    return image_entries(saved)


def _store_bundle(s3: Any, bucket: str, release: ReleaseManifest, archive: Path) -> bool:
    """Store the bundle unless the version has one; True when it was stored now."""
    with archive.open("rb") as body:
        stored = _put_once(
            s3,
            Bucket=bucket,
            Key=bundle_key(release.version),
            Body=body,
            Metadata={"sha256": release.sha256},
            ChecksumSHA256=base64.b64encode(bytes.fromhex(release.sha256)).decode(),
            ContentType="application/gzip",
        )
    if not stored:
        existing = s3.head_object(Bucket=bucket, Key=bundle_key(release.version))["Metadata"].get("sha256", "unknown")
        if existing != release.sha256:
            raise RefusedError(
                f"version {release.version} is published with other bytes (sha256 {existing}, yours {release.sha256}); "
                "a version is written once: choose a new one"
            )
    return stored


def _store_manifest(s3: Any, bucket: str, release: ReleaseManifest) -> ReleaseManifest:
    """Store release.json, also when the bundle exists already: its publication may have been interrupted."""
    if _put_once(
        s3,
        Bucket=bucket,
        Key=manifest_key(release.version),
        Body=release.to_json(),
        ContentType="application/json",
    ):
        return release
    return find(s3, bucket, release.version) or release


def _put_once(s3: Any, **arguments: Any) -> bool:
    from botocore.exceptions import ClientError

    try:
        # Atomic, also between two concurrent publications.
        s3.put_object(IfNoneMatch="*", **arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict", "412", "409"):
            raise
        return False
    return True


cli = app()


@cli.command()
def main(
    folder: FolderArgument,
    stack: StackOption = "",
    version: VersionOption = "",
    kind: KindOption = BundleKind.SOURCE,
    migration: MigrationOption = Migration.NONE,
    image: Annotated[str, typer.Option(help="For kind image: a local Docker image, instead of building FOLDER.")] = "",
    bucket: Annotated[str, typer.Option(help="Publish to this bucket instead of the stack's own.")] = "",
    pack_into: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Write bundle and release.json to this folder instead of publishing."),
    ] = None,
    packed: Annotated[bool, typer.Option("--packed", help="Publish FOLDER as --pack-into wrote it.")] = False,
    sha256: Annotated[str, typer.Option(help="With --packed: refuse a bundle that has another checksum.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Publish a release: pack FOLDER and store it under its version, which never changes afterwards.

    The same files give the same bytes; publishing them again changes nothing.
    Other files under a version that exists are refused.
    With --pack-into and then --packed, several stacks get the very same file.
    """
    display = Display(as_json=as_json)
    with exit_codes(display):
        _require_one_way(packed=packed, pack_into=pack_into, sha256=sha256, version=version)
        release = packed_release(folder, sha256) if packed else None
        s3, destination = (None, "") if pack_into else _destination(stack, bucket)
        if release:
            _show(display, store(s3, destination, release, folder / BUNDLE, display))
            return
        args = PublishArgs(
            folder=folder,
            bucket=destination,
            version=version or git_version(folder),
            commit=git_commit(folder),
            kind=kind,
            migration=migration,
            image=image,
        )
        if pack_into:
            _show_packed(display, pack_release(args, pack_into, display), pack_into)
        else:
            _show(display, publish(s3, args, display))


def _require_one_way(*, packed: bool, pack_into: Path | None, sha256: str, version: str) -> None:
    if packed and (pack_into or version):
        raise UsageError("--packed publishes what is packed already, by its own version: no --pack-into, no --version")
    if sha256 and not packed:
        raise UsageError("--sha256 goes with --packed: a release that is packed now has no checksum yet")


def _destination(stack: str, bucket: str) -> tuple[Any, str]:
    import boto3

    from scripts.stack.automation import open_stack, read_facts

    if bucket:
        return boto3.client("s3"), bucket
    facts = read_facts(open_stack(stack))
    return facts.s3, facts.bucket


def _document(release: ReleaseManifest) -> dict[str, Any]:
    return {
        "ok": True,
        "version": release.version,
        "sha256": release.sha256,
        "size": release.size,
        "kind": release.kind,
        "migration": release.migration,
        "commit": release.commit,
    }


def _show_packed(display: Display, release: ReleaseManifest, folder: Path) -> None:
    display.result({**_document(release), "folder": str(folder)})
    display.say(f"{release.version} packed into {folder}, not published")
    display.say(f"  sha256  {release.sha256}")


def _show(display: Display, published: Published) -> None:
    release = published.release
    display.result({**_document(release), "url": published.url, "already_published": not published.created})
    display.say(
        f"{release.version} {'published' if published.created else 'was published before, with the same bytes'}"
    )
    display.say(f"  url     {published.url}")
    display.say(f"  sha256  {release.sha256}")


if __name__ == "__main__":
    cli()
