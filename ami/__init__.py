"""Machine image (AMI): the Packer template and the boot program."""
