"""Container images in place of AMIs, and a base image for releases, built from Debian packages."""
