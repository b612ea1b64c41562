"""AWS emulator of the rehearsal: moto's server with additions, instance metadata, and containers as instances."""
