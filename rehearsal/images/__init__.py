"""Container images that stand for AMIs and base images, made of Debian's packages."""
