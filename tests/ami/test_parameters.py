from __future__ import annotations

import pytest

from ami.boot.cloud import Cloud
from ami.boot.masking import Secrets
from ami.boot.parameters import Parameter, ParameterError, env_file, hide_secrets, instance_environment, read_parameters
from ami.boot.user_data import parse
from tests.ami.releases import user_data

PATH = "/bluegreen/dev/app/"
INSTANCE = {"PORT": "8080", "RELEASE": "v1", "COLOR": "blue", "ENVIRONMENT": "dev", "HEALTH_PATH": "/cgi-bin/health"}


def parameter(name: str, value: str = "x", *, secret: bool = False) -> Parameter:
    return Parameter(name=name, value=value, secret=secret)


def test_all_pages_are_read_decrypted_and_nothing_deeper_or_beside(cloud: Cloud) -> None:
    client = cloud.client("ssm")
    for number in range(12):  # a page has ten
        client.put_parameter(Name=f"{PATH}NAME_{number}", Value=str(number), Type="String")
    client.put_parameter(Name=f"{PATH}SECRET", Value="hunter22", Type="SecureString")
    client.put_parameter(Name=f"{PATH}deeper/OTHER", Value="no", Type="String")
    client.put_parameter(Name="/bluegreen/prod/app/OTHER", Value="no", Type="String")
    found = read_parameters(client, PATH)
    assert sorted(each.name for each in found) == sorted([*(f"NAME_{n}" for n in range(12)), "SECRET"])
    assert [each for each in found if each.secret] == [parameter("SECRET", "hunter22", secret=True)]


def test_no_parameters_are_no_fault(cloud: Cloud) -> None:
    assert read_parameters(cloud.client("ssm"), PATH) == []


def test_the_env_file_is_sorted_and_keeps_values_as_they_are() -> None:
    assert env_file([parameter("B", "a=b 'c' \"d\" $e"), parameter("A", "")], {"PORT": "8080"}) == (
        "A=\nB=a=b 'c' \"d\" $e\nPORT=8080\n"
    )


def test_the_instances_own_variables_override_parameters() -> None:
    assert "PORT=8080\n" in env_file([parameter("PORT", "1")], INSTANCE)
    assert instance_environment(parse(user_data())) == INSTANCE


def test_what_an_env_file_can_not_hold_is_named_all_at_once_without_the_value() -> None:
    with pytest.raises(ParameterError) as error:
        env_file([parameter("1ST"), parameter("KEY", "secret line\nsecond"), parameter("GOOD")], INSTANCE)
    assert "parameter 1ST: not a variable's name" in str(error.value)
    assert "parameter KEY: has a line break" in str(error.value)
    assert "GOOD" not in str(error.value)
    assert "secret line" not in str(error.value)


def test_only_secure_ones_are_secrets() -> None:
    secrets = Secrets()
    hide_secrets([parameter("A", "public-value"), parameter("B", "secret-value", secret=True)], secrets)
    assert secrets.mask("public-value secret-value") == "public-value ***"
