"""VPN rehearsal: a site-to-site connection with real IPsec, between network namespaces on this host."""
