"""HAProxy in place of the Application Load Balancer."""
