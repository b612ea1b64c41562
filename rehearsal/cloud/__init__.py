"""The rehearsal's AWS: moto's server with additions, metadata for each instance, and machines behind the instances."""
