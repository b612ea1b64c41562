"""What exists once in an AWS account: where state lies, what encrypts it, and whom CI may be there."""
