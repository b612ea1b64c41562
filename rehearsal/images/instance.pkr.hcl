# Packer source of a rehearsal, in place of ami/source.pkr.hcl: EC2 is the emulator, and the builder is a container on
# this host that runs sshd. The provisioning is the AMI's own.

variable "endpoint" {
  type = string
}

variable "ssh_port" {
  type = number
}

variable "ssh_private_key_file" {
  type = string
}

source "amazon-ebs" "app" {
  region                  = var.region
  access_key              = "rehearsal"
  secret_key              = "rehearsal"
  custom_endpoint_ec2     = var.endpoint
  skip_region_validation  = true
  skip_metadata_api_check = true

  ami_name      = "bluegreen-debian-12-{{ timestamp }}"
  instance_type = var.instance_type

  source_ami_filter {
    owners      = ["136693071363"]
    most_recent = true
    filters = {
      name = "debian-12-amd64-*"
    }
  }

  ssh_host             = "127.0.0.1"
  ssh_port             = var.ssh_port
  ssh_username         = "root"
  ssh_private_key_file = var.ssh_private_key_file
}
