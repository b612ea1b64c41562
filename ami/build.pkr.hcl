# The AMI: Debian, Docker, the log agent, the boot program. No release.
# Packer 1.6.6 (Debian's) and the current one both read this file; what 1.6.6 can't read is in source.pkr.hcl and
# plugins.pkr.hcl. A build elsewhere than on EC2 uses another source named amazon-ebs.app instead.

locals {
  staging = "/tmp/bluegreen-staging"
  # Root's image has no sudo, Debian's cloud image has it: the substitution is empty where sudo is missing.
  as_root = "{{ .Vars }} $(command -v sudo >/dev/null && echo sudo -E) bash '{{ .Path }}'"
}

build {
  sources = ["source.amazon-ebs.app"]

  provisioner "shell" {
    inline = ["rm -rf ${local.staging}", "mkdir -p ${local.staging}"]
  }

  provisioner "file" {
    sources     = ["${path.root}/boot", "${path.root}/docker", "${path.root}/units", "${path.root}/versions.env"]
    destination = "${local.staging}/"
  }

  provisioner "shell" {
    execute_command = local.as_root
    environment_vars = [
      "STAGING=${local.staging}",
      "UPDATES=${var.updates}",
      "LOG_AGENT_URL=${var.log_agent_url}",
    ]
    scripts = [
      "${path.root}/provision/10-updates.sh",
      "${path.root}/provision/20-packages.sh",
      "${path.root}/provision/30-log-agent.sh",
      "${path.root}/provision/40-boot.sh",
      "${path.root}/provision/90-cleanup.sh",
    ]
  }
}
