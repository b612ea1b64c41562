"""The site-to-site VPN: its connection, the customer gateway's files, diagnostics."""
