#!/bin/sh
# Called by strongSwan when a tunnel comes up or goes down: interface and metric as arguments.
# FRR learns and withdraws the routes; strongSwan has nothing to do here.
exit 0
