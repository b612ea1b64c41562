# Builder of the image: a small EC2 instance from Debian's newest official image.

locals {
  # Debian's account for official images, https://wiki.debian.org/Cloud/AmazonEC2Image
  debian_owner = "136693071363"
  built_at     = timestamp()
  image_tags = {
    Project    = "bluegreen"
    Name       = "bluegreen-debian-12"
    SourceAmi  = "{{ .SourceAMI }}"
    SourceName = "{{ .SourceAMIName }}"
    GitCommit  = var.git_commit
    BuiltAt    = local.built_at
  }
}

source "amazon-ebs" "app" {
  region        = var.region
  instance_type = var.instance_type
  ssh_username  = var.ssh_username
  ssh_interface = "public_ip"

  # Empty ones count as not set. Outside a default VPC, a public address has to be requested.
  vpc_id                      = var.vpc_id
  subnet_id                   = var.subnet_id
  associate_public_ip_address = var.subnet_id == "" ? null : true

  ami_name        = "bluegreen-debian-12-${formatdate("YYYYMMDD-hhmmss", local.built_at)}"
  ami_description = "Debian 12 with Docker and the boot program of bluegreen; no release inside"
  deprecate_at    = timeadd(local.built_at, var.deprecate_after)

  source_ami_filter {
    owners      = [local.debian_owner]
    most_recent = true
    filters = {
      name                = "debian-12-amd64-*"
      architecture        = "x86_64"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
  }

  # IMDSv2 alone, on the builder …
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  # … and on every instance that is launched from the image, unless its launch template says otherwise.
  imds_support = "v2.0"

  encrypt_boot = true
  launch_block_device_mappings {
    device_name           = "/dev/xvda"
    volume_size           = var.volume_gib
    volume_type           = "gp3"
    encrypted             = true
    delete_on_termination = true
  }

  tags            = local.image_tags
  snapshot_tags   = local.image_tags
  run_tags        = { Project = "bluegreen", Name = "bluegreen-image-builder" }
  run_volume_tags = { Project = "bluegreen", Name = "bluegreen-image-builder" }
}
