from __future__ import annotations

from components.dns_name import DnsName
from config.settings import LoadBalancerSettings
from tests.declared import declare


def test_the_name_follows_the_balancer() -> None:
    settings = LoadBalancerSettings(domain="app.example.org", hosted_zone_id="Z1")
    declared = declare(
        lambda: DnsName("domain", settings, load_balancer_dns_name="web.elb.example", load_balancer_zone_id="Z2")
    )
    assert declared.table() == {("route53.Record", "domain")}
    assert declared.one("route53.Record").inputs == {
        "aliases": [{"name": "web.elb.example", "zoneId": "Z2", "evaluateTargetHealth": False}],
        "name": "app.example.org",
        "type": "A",
        "zoneId": "Z1",
    }
