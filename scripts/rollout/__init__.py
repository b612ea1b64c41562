"""Parts of a cutover and a canary: traffic, probes, bake, rollback, resumption."""
