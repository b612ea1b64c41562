"""The machine image: what Packer builds, and the boot program that it carries."""
