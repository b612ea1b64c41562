"""Rules on encryption at rest, and on secrets in parameters.

ECR and CloudWatch Logs always encrypt: there is nothing to check.
"""

from __future__ import annotations

import re

from policy.exposure import BUCKET
from policy.stack import Findings, StackResources, at, is_on, items, known, shown

BUCKET_ENCRYPTION = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
ALGORITHMS = ("AES256", "aws:kms", "aws:kms:dsse")
ENCRYPTION_FLAGS = {
    "aws:ebs/volume:Volume": "encrypted",
    "aws:efs/fileSystem:FileSystem": "encrypted",
    "aws:rds/instance:Instance": "storageEncrypted",
    "aws:rds/cluster:Cluster": "storageEncrypted",
}
SECRET_WORDS = re.compile(
    r"(?i)(^|[^a-z])(token|password|passwd|secret|psk|credentials?|private[_-]?key|api[_-]?key)s?($|[^a-z])"
)


def buckets(stack: StackResources) -> Findings:
    configurations = stack.all(BUCKET_ENCRYPTION)
    for bucket in stack.all(BUCKET):
        if not any(stack.refers(each, "bucket", bucket) for each in configurations):
            yield bucket, "there is no encryption configuration for the bucket; allowed is a bucket with one"
    for each in configurations:
        for rule in items(at(each.props, "rules")):
            algorithm = at(rule, "applyServerSideEncryptionByDefault", "sseAlgorithm")
            if known(algorithm) and algorithm not in ALGORITHMS:
                yield each, f"sseAlgorithm is {shown(algorithm)}; allowed are {', '.join(ALGORITHMS)}"


def volumes(stack: StackResources) -> Findings:
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
    for each in stack.all(*ENCRYPTION_FLAGS):
        value = at(each.props, ENCRYPTION_FLAGS[each.type])
        if known(value) and not is_on(value):
            yield each, f"{ENCRYPTION_FLAGS[each.type]} is {shown(value)}; allowed is true"


def topics(stack: StackResources) -> Findings:
    for topic in stack.all("aws:sns/topic:Topic"):
        if not at(topic.props, "kmsMasterKeyId"):
            yield topic, "kmsMasterKeyId is not set; allowed is the id, ARN or alias of a key"


def secret_parameters(stack: StackResources) -> Findings:
    """Policies do not see which values are Pulumi secrets: the parameter's name decides."""
    for parameter in stack.all("aws:ssm/parameter:Parameter"):
        name, kind = at(parameter.props, "name"), at(parameter.props, "type")
        if isinstance(name, str) and SECRET_WORDS.search(name) and known(kind) and kind != "SecureString":
            yield parameter, f"type of {name} is {shown(kind)}; allowed is SecureString for what its name calls secret"
