"""One of each kind of resource that the engine manages, in three variants."""

import json

import pulumi
import pulumi_aws as aws

variant = pulumi.Config().require("variant")
changed = variant != "first"
replaced = variant == "replaced"
tags = {"Variant": "changed" if changed else "first"}
letter = "b" if replaced else "a"

provider = aws.Provider("main", region="us-east-1", default_tags={"tags": {"Project": "gallery"}})
under = pulumi.ResourceOptions(provider=provider)
document = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": f"s3:{variant}", "Resource": "*"}]}
)
trust = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}],
    }
)

# network
net = "10.1" if replaced else "10.0"
vpc = aws.ec2.Vpc("net", cidr_block=f"{net}.0.0/16", enable_dns_hostnames=changed, tags=tags, opts=under)
zones = aws.get_availability_zones(state="available", opts=pulumi.InvokeOptions(provider=provider)).names[:2]
subnets = [
    aws.ec2.Subnet(
        f"subnet-{zone}",
        vpc_id=vpc.id,
        cidr_block=f"{net}.{index}.0/24",
        availability_zone=zone,
        map_public_ip_on_launch=changed,
        tags=tags,
        opts=under,
    )
    for index, zone in enumerate(zones)
]
gateway = aws.ec2.InternetGateway("way-out", vpc_id=vpc.id, tags=tags, opts=under)
table = aws.ec2.RouteTable("table", vpc_id=vpc.id, tags=tags, opts=under)
address = aws.ec2.Eip(f"address-{letter}", domain="vpc", tags=tags, opts=under)
nat = aws.ec2.NatGateway("nat", subnet_id=subnets[0].id, allocation_id=address.id, tags=tags, opts=under)
route = aws.ec2.Route(
    "route",
    route_table_id=table.id,
    destination_cidr_block="0.0.0.0/0",
    gateway_id=None if changed else gateway.id,
    nat_gateway_id=nat.id if changed else None,
    opts=under,
)
aws.ec2.RouteTableAssociation("joined", subnet_id=subnets[0].id, route_table_id=table.id, opts=under)
other = aws.ec2.RouteTable("other", vpc_id=vpc.id, tags=tags, opts=under)
endpoint = aws.ec2.VpcEndpoint(
    "s3",
    vpc_id=vpc.id,
    service_name="com.amazonaws.us-east-1.s3",
    vpc_endpoint_type="Gateway",
    route_table_ids=[table.id, other.id] if changed else [table.id],
    tags=tags,
    opts=under,
)
aws.ec2.DefaultSecurityGroup("locked", vpc_id=vpc.id, tags=tags, opts=under)
group = aws.ec2.SecurityGroup("web", vpc_id=vpc.id, description=f"Web {letter}", tags=tags, opts=under)
inline = aws.ec2.SecurityGroup(
    "inline",
    vpc_id=vpc.id,
    ingress=[{"protocol": "tcp", "from_port": 81 if changed else 80, "to_port": 81 if changed else 80, "self": True}],
    egress=[{"protocol": "-1", "from_port": 0, "to_port": 0, "cidr_blocks": ["0.0.0.0/0"]}],
    opts=under,
)
rule = aws.vpc.SecurityGroupIngressRule(
    "http",
    security_group_id=group.id,
    ip_protocol="tcp",
    from_port=80,
    to_port=8080 if changed else 80,
    cidr_ipv4="0.0.0.0/0",
    tags=tags,
    opts=under,
)
aws.vpc.SecurityGroupEgressRule(
    "out", security_group_id=group.id, ip_protocol="-1", referenced_security_group_id=inline.id, tags=tags, opts=under
)

# logs
logs = aws.cloudwatch.LogGroup("logs", retention_in_days=7 if changed else 30, tags=tags, opts=under)
aws.cloudwatch.MetricAlarm(
    "alarm",
    comparison_operator="GreaterThanThreshold",
    evaluation_periods=2 if changed else 1,
    metric_name="Errors",
    namespace="gallery",
    period=60,
    statistic="Sum",
    threshold=1,
    dimensions={"Stack": "test"},
    tags=tags,
    opts=under,
)

# roles
role = aws.iam.Role(
    "role", assume_role_policy=trust, path=f"/{letter}/", description=f"{variant} role", tags=tags, opts=under
)
aws.iam.RolePolicy("policy", role=role.name, policy=document, opts=under)
aws.iam.RolePolicyAttachment(
    "attached", role=role.name, policy_arn="arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore", opts=under
)
profile = aws.iam.InstanceProfile("profile", role=role.name, tags=tags, opts=under)
aws.ec2.FlowLog(
    "flows",
    vpc_id=vpc.id,
    traffic_type="ALL",
    log_destination=logs.arn,
    iam_role_arn=role.arn,
    tags=tags,
    opts=under,
)

# buckets
bucket = aws.s3.Bucket("files", bucket_prefix=f"files-{letter}-", force_destroy=True, tags=tags, opts=under)
versioning = aws.s3.BucketVersioning(
    "versions", bucket=bucket.id, versioning_configuration={"status": "Enabled"}, opts=under
)
aws.s3.BucketServerSideEncryptionConfiguration(
    "encrypted",
    bucket=bucket.id,
    rules=[
        {"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}, "bucket_key_enabled": changed},
    ],
    opts=under,
)
aws.s3.BucketPublicAccessBlock(
    "private",
    bucket=bucket.id,
    block_public_acls=True,
    block_public_policy=True,
    ignore_public_acls=True,
    restrict_public_buckets=changed,
    opts=under,
)
aws.s3.BucketOwnershipControls(
    "owned",
    bucket=bucket.id,
    rule={"object_ownership": "BucketOwnerEnforced" if changed else "BucketOwnerPreferred"},
    opts=under,
)
aws.s3.BucketPolicy(
    "tls",
    bucket=bucket.id,
    policy=bucket.arn.apply(
        lambda arn: json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"{arn}/{variant}"},
                    {
                        "Effect": "Allow",
                        "Principal": {"Service": "logging.s3.amazonaws.com"},
                        "Action": "s3:PutObject",
                        "Resource": f"{arn}/*",
                    },
                ],
            }
        )
    ),
    opts=under,
)
aws.s3.BucketLifecycleConfiguration(
    "aging",
    bucket=bucket.id,
    rules=[
        {
            "id": "old",
            "status": "Enabled",
            "filter": {"prefix": "logs/"},
            "expiration": {"days": 10 if changed else 20},
            "noncurrent_version_expiration": {"noncurrent_days": 30},
            "abort_incomplete_multipart_upload": {"days_after_initiation": 2},
        }
    ],
    opts=under.merge(pulumi.ResourceOptions(depends_on=[versioning])),
)
log_bucket = aws.s3.Bucket("access", force_destroy=True, opts=under)
deliver = aws.s3.BucketPolicy(
    "deliver",
    bucket=log_bucket.id,
    policy=log_bucket.arn.apply(
        lambda arn: json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"Service": "logging.s3.amazonaws.com"},
                        "Action": "s3:PutObject",
                        "Resource": f"{arn}/*",
                    }
                ],
            }
        )
    ),
    opts=under,
)
aws.s3.BucketLogging(
    "logged",
    bucket=bucket.id,
    target_bucket=log_bucket.id,
    target_prefix="b/" if changed else "a/",
    opts=under.merge(pulumi.ResourceOptions(depends_on=[deliver])),
)
aws.s3.BucketObjectv2("note", bucket=bucket.id, key="note.txt", content="two" if changed else "one", opts=under)

# balancer
balancer = aws.lb.LoadBalancer(
    "front",
    internal=replaced,
    subnets=[each.id for each in subnets],
    security_groups=[group.id],
    idle_timeout=30 if changed else 60,
    tags=tags,
    opts=under,
)
targets = {
    color: aws.lb.TargetGroup(
        f"tg-{color}",
        port=8081 if replaced else 8080,
        protocol="HTTP",
        vpc_id=vpc.id,
        deregistration_delay=10 if changed else 20,
        health_check={"path": "/health", "interval": 5, "timeout": 4, "matcher": "200"},
        tags=tags,
        opts=under,
    )
    for color in ("blue", "green")
}
listener = aws.lb.Listener(
    "listener",
    load_balancer_arn=balancer.arn,
    port=80,
    default_actions=[
        {
            "type": "fixed-response",
            "fixed_response": {"content_type": "text/plain", "status_code": "503", "message_body": variant},
        }
    ],
    tags=tags,
    opts=under,
)
live = aws.lb.ListenerRule(
    "live",
    listener_arn=listener.arn,
    priority=101 if changed else 100,
    conditions=[{"path_pattern": {"values": ["/*"]}}],
    actions=[
        {
            "type": "forward",
            "forward": {
                "target_groups": [
                    {"arn": targets["blue"].arn, "weight": 0 if changed else 100},
                    {"arn": targets["green"].arn, "weight": 100 if changed else 0},
                ]
            },
        }
    ],
    tags=tags,
    opts=under,
)
aws.lb.ListenerRule(
    "preview",
    listener_arn=listener.arn,
    priority=10,
    conditions=[{"http_header": {"http_header_name": "X-Preview", "values": [variant]}}],
    actions=[{"type": "forward", "target_group_arn": targets["blue"].arn}],
    opts=under,
)

# machines
template = aws.ec2.LaunchTemplate(
    "machines",
    name_prefix=f"gallery-{letter}-",
    image_id="ami-12c6146b",
    instance_type="t3.micro" if changed else "t3.small",
    iam_instance_profile={"arn": profile.arn},
    vpc_security_group_ids=[group.id],
    metadata_options={"http_tokens": "required", "http_endpoint": "enabled", "http_put_response_hop_limit": 2},
    block_device_mappings=[{"device_name": "/dev/xvda", "ebs": {"volume_size": 8, "encrypted": "true"}}],
    tag_specifications=[{"resource_type": "instance", "tags": tags}],
    # moto 5.2.5 can't start machines from a second version that has user data.
    user_data="QQ==" if variant != "changed" else None,
    tags=tags,
    opts=under,
)
fleet = aws.autoscaling.Group(
    "fleet",
    name_prefix=f"gallery-{letter}-",
    min_size=1,
    max_size=3 if changed else 2,
    desired_capacity=1,
    min_elb_capacity=1,
    health_check_type="ELB",
    health_check_grace_period=30,
    wait_for_capacity_timeout="1m",
    force_delete=True,
    vpc_zone_identifiers=[each.id for each in subnets],
    target_group_arns=[targets["blue"].arn],
    launch_template={"id": template.id, "version": template.latest_version.apply(str)},
    initial_lifecycle_hooks=[
        {
            "name": "boot",
            "lifecycle_transition": "autoscaling:EC2_INSTANCE_TERMINATING",
            "default_result": "CONTINUE",
            "heartbeat_timeout": 30,
        }
    ],
    instance_maintenance_policy={"min_healthy_percentage": 100, "max_healthy_percentage": 200},
    tags=[{"key": key, "value": value, "propagate_at_launch": True} for key, value in tags.items()],
    opts=under.merge(pulumi.ResourceOptions(depends_on=[live])),
)
aws.autoscaling.Policy(
    "busy",
    autoscaling_group_name=fleet.name,
    policy_type="TargetTrackingScaling",
    target_tracking_configuration={
        "predefined_metric_specification": {"predefined_metric_type": "ASGAverageCPUUtilization"},
        "target_value": 50.0 if changed else 60.0,
    },
    opts=under,
)
aws.autoscaling.LifecycleHook(
    "drain",
    autoscaling_group_name=fleet.name,
    lifecycle_transition="autoscaling:EC2_INSTANCE_TERMINATING",
    heartbeat_timeout=90 if changed else 60,
    opts=under,
)

# messages, images, names, parameters
topic = aws.sns.Topic("alerts", name=f"alerts-{letter}", display_name=variant, tags=tags, opts=under)
aws.sns.TopicPolicy("may", arn=topic.arn, policy=document, opts=under)
aws.sns.TopicSubscription("mail", topic=topic.arn, protocol="email", endpoint="a@example.org", opts=under)
heard = aws.cloudwatch.EventRule(
    "heard",
    name=f"heard-{letter}",
    event_pattern=json.dumps({"source": [variant]}),
    tags=tags,
    opts=under,
)
aws.cloudwatch.EventTarget(
    "heard",
    rule=heard.name,
    target_id="alerts",
    arn=topic.arn,
    input_transformer={"input_paths": {"who": "$.source"}, "input_template": f'{{"{variant}": <who>}}'},
    opts=under,
)
images = aws.ecr.Repository(
    "images",
    name=f"gallery/{letter}",
    image_tag_mutability="IMMUTABLE" if changed else "MUTABLE",
    force_delete=True,
    tags=tags,
    opts=under,
)
aws.ecr.LifecyclePolicy(
    "prune",
    repository=images.name,
    policy=json.dumps(
        {
            "rules": [
                {
                    "rulePriority": 1,
                    "selection": {
                        "tagStatus": "any",
                        "countType": "imageCountMoreThan",
                        "countNumber": 5 if changed else 10,
                    },
                    "action": {"type": "expire"},
                }
            ]
        }
    ),
    opts=under,
)
parameter = aws.ssm.Parameter("setting", name=f"/gallery/{letter}", type="String", value=variant, tags=tags, opts=under)
zone_id = pulumi.Config().get("zone")
if zone_id:
    record = aws.route53.Record(
        "www",
        zone_id=zone_id,
        name=f"{letter}.example.org",
        type="A",
        ttl=60 if changed else 300,
        records=["192.0.2.1"],
        opts=under,
    )
    aws.route53.Record(
        "front",
        zone_id=zone_id,
        name="front",
        type="A",
        aliases=[{"name": balancer.dns_name, "zone_id": balancer.zone_id, "evaluate_target_health": True}],
        opts=under,
    )
    pulumi.export("fqdn", record.fqdn)

pulumi.export("vpc", {"id": vpc.id, "arn": vpc.arn, "owner": vpc.owner_id, "tags": vpc.tags_all})
pulumi.export("bucket", {"name": bucket.bucket, "arn": bucket.arn, "domain": bucket.bucket_regional_domain_name})
pulumi.export("role", {"name": role.name, "arn": role.arn, "profile": profile.arn})
pulumi.export("balancer", {"arn": balancer.arn, "dns": balancer.dns_name, "zone": balancer.zone_id})
pulumi.export("targets", {color: each.arn for color, each in targets.items()})
pulumi.export("suffix", targets["blue"].arn_suffix)
pulumi.export("rule", {"arn": live.arn, "priority": live.priority})
pulumi.export("template", {"id": template.id, "version": template.latest_version, "name": template.name})
pulumi.export("fleet", {"name": fleet.name, "arn": fleet.arn, "capacity": fleet.desired_capacity})
pulumi.export("topic", topic.arn)
pulumi.export("repository", images.repository_url)
pulumi.export("parameter", {"arn": parameter.arn, "version": parameter.version})
pulumi.export("endpoint", {"id": endpoint.id, "list": endpoint.prefix_list_id})
pulumi.export("nat", nat.public_ip)
pulumi.export("logs", logs.arn)
