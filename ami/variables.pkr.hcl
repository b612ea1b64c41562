# Variables of a build. Packer 1.6.6 (Debian's) and the current one both read this file.

variable "region" {
  type        = string
  description = "The AWS region that the image is built in and belongs to."
  default     = "eu-central-1"
}

variable "instance_type" {
  type        = string
  description = "The builder's instance type; x86-64."
  default     = "t3.small"
}

variable "subnet_id" {
  type        = string
  description = "The builder's subnet, a public one. Empty takes one of the region's default VPC."
  default     = ""
}

variable "vpc_id" {
  type        = string
  description = "The VPC of subnet_id. Empty lets Packer look it up."
  default     = ""
}

variable "ssh_username" {
  type        = string
  description = "The source image's user: admin on Debian's official images."
  default     = "admin"
}

variable "volume_gib" {
  type        = number
  description = "The image's root volume in GiB; the program's rootVolumeGiB can only make it larger."
  default     = 8

  validation {
    condition     = var.volume_gib >= 8
    error_message = "The volume_gib must be 8 or more: Debian's image alone takes 8."
  }
}

variable "git_commit" {
  type        = string
  description = "The commit that the image is built from, for its tags; `git rev-parse HEAD`."

  validation {
    condition     = length(var.git_commit) >= 7
    error_message = "The git_commit must be a commit of 7 characters or more."
  }
}

variable "updates" {
  type        = string
  description = "Which of Debian's updates to install: all, or none for a source that has just been updated."
  default     = "all"

  validation {
    condition     = var.updates == "all" || var.updates == "none"
    error_message = "The updates must be all or none."
  }
}

variable "log_agent_url" {
  type        = string
  description = "Amazon's log agent as a .deb, with its signature at the same URL plus .sig. Empty leaves the agent out."
  default     = "https://amazoncloudwatch-agent.s3.amazonaws.com/debian/amd64/latest/amazon-cloudwatch-agent.deb"
}

variable "deprecate_after" {
  type        = string
  description = "When the image is deprecated, as Debian's updates pile up. In hours, as Packer's functions read it."
  default     = "2160h"
}
