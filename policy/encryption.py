"""What lies on a disk is encrypted, and what is secret is kept as a secret.

ECR and CloudWatch Logs encrypt by themselves and can't be told not to: there is nothing to judge.
"""

from __future__ import annotations

import re

from policy.exposure import BUCKET
from policy.stack import Findings, Stack, at, is_on, items, known, shown

BUCKET_ENCRYPTION = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
ALGORITHMS = ("AES256", "aws:kms", "aws:kms:dsse")
SWITCHES = {
    "aws:ebs/volume:Volume": "encrypted",
    "aws:efs/fileSystem:FileSystem": "encrypted",
    "aws:rds/instance:Instance": "storageEncrypted",
    "aws:rds/cluster:Cluster": "storageEncrypted",
}
SECRET_WORDS = re.compile(
    r"(?i)(^|[^a-z])(token|password|passwd|secret|psk|credentials?|private[_-]?key|api[_-]?key)s?($|[^a-z])"
)


def buckets(stack: Stack) -> Findings:
    configurations = stack.all(BUCKET_ENCRYPTION)
    for bucket in stack.all(BUCKET):
        if not any(stack.refers(each, "bucket", bucket) for each in configurations):
            yield bucket, "there is no encryption configuration for the bucket; allowed is a bucket with one"
    for each in configurations:
        for rule in items(at(each.props, "rules")):
            algorithm = at(rule, "applyServerSideEncryptionByDefault", "sseAlgorithm")
            if known(algorithm) and algorithm not in ALGORITHMS:
                yield each, f"sseAlgorithm is {shown(algorithm)}; allowed are {', '.join(ALGORITHMS)}"


def volumes(stack: Stack) -> Findings:
    for template in stack.all("aws:ec2/launchTemplate:LaunchTemplate"):
        mappings = at(template.props, "blockDeviceMappings")
        if not known(mappings):
            continue
        if not mappings:
            yield template, "blockDeviceMappings is not set; allowed is a template that encrypts its root volume"
        for mapping in items(mappings):
            encrypted = at(mapping, "ebs", "encrypted")
            if at(mapping, "ebs") is not None and known(encrypted) and not is_on(encrypted):
                device = shown(at(mapping, "deviceName"))
                yield template, f"ebs.encrypted of {device} is {shown(encrypted)}; allowed is true"
    for each in stack.all(*SWITCHES):
        value = at(each.props, SWITCHES[each.type])
        if known(value) and not is_on(value):
            yield each, f"{SWITCHES[each.type]} is {shown(value)}; allowed is true"


def topics(stack: Stack) -> Findings:
    for topic in stack.all("aws:sns/topic:Topic"):
        if not at(topic.props, "kmsMasterKeyId"):
            yield topic, "kmsMasterKeyId is not set; allowed is the id, ARN or alias of a key"


def secret_parameters(stack: Stack) -> Findings:
    """Pulumi's own mark of a secret does not reach policies: the name has to tell."""
    for parameter in stack.all("aws:ssm/parameter:Parameter"):
        name, kind = at(parameter.props, "name"), at(parameter.props, "type")
        if isinstance(name, str) and SECRET_WORDS.search(name) and known(kind) and kind != "SecureString":
            yield parameter, f"type of {name} is {shown(kind)}; allowed is SecureString for what its name calls secret"
