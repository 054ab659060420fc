"""What the doctor is told, by a values file, by the chart, by flags."""

from pathlib import Path

import pytest

from shoal.cli.doctoring.inputs import Given, from_files, pair_of, settings_of
from shoal.core.console.chart_values import Method
from shoal.core.errors import SettingsError

ROLE, PROVIDER = "acs:ram::1:role/a", "acs:ram::1:oidc-provider/c1"
SETUP = """\
version: 1
method: rrsa
instances: [cri-a, cri-b]
region: cn-hangzhou
vpcId: vpc-1
rrsa: {roleARN: "acs:ram::1:role/a", oidcProviderARN: "acs:ram::1:oidc-provider/c1",
  assumeRoleARN: "", expireDuration: 3600}
"""


def _file(folder: Path, text: str) -> Path:
    path = folder / "values.yaml"
    path.write_text(text)
    return path


def test_values_are_read_as_the_documentation_spells_them(tmp_path: Path) -> None:
    path = _file(
        tmp_path, 'acrInstances: "cri-a, cri-b,cri-a"\naccessKey: LTAI\naccessKeySecret: s3cret\n'
    )
    given = from_files(path, environment={})
    assert given.instances == ("cri-a", "cri-b")
    assert settings_of(given).method is Method.ACCESS_KEY
    pair = pair_of(given, None, environment={})
    assert pair is not None
    assert pair.pair.secret == "s3cret"
    for shown in (repr(given), repr(pair)):
        assert "s3cret" not in shown


def test_rrsa_is_used_only_where_it_is_enabled(tmp_path: Path) -> None:
    arns = f"  rrsaRoleARN: {ROLE}\n  rrsaOIDCProviderRoleARN: {PROVIDER}\n"
    on = _file(tmp_path, f'registryInstances: "cri-a"\nrrsa:\n  enable: true\n{arns}')
    assert settings_of(from_files(on, environment={})).method is Method.RRSA
    off = _file(tmp_path, f'acrInstances: "cri-a"\nrrsa:\n  enable: false\n{arns}')
    assert settings_of(from_files(off, environment={})).method is Method.WORKER_ROLE


def test_in_a_pod_of_the_chart_its_own_file_is_read(tmp_path: Path) -> None:
    path = _file(tmp_path, SETUP)
    given = from_files(None, environment={"SHOAL_SETUP_CONFIG": str(path)})
    settings = settings_of(given)
    assert given.instances == ("cri-a", "cri-b")
    assert (settings.method, settings.role_arn, settings.vpc_id) == (Method.RRSA, ROLE, "vpc-1")


def test_flags_win_over_files(tmp_path: Path) -> None:
    path = _file(tmp_path, 'acrInstances: "cri-a"\nregion: cn-hangzhou\n')
    given = Given(region="cn-beijing").over(from_files(path, environment={}))
    assert (given.region, given.instances) == ("cn-beijing", ("cri-a",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "has to be a mapping"),
        ("a: [", "is not YAML"),
        ("rrsa: 1", "has to be a section"),
        ("rrsa: {enable: true, expireDuration: soon}", "a number of seconds"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        from_files(_file(tmp_path, text), environment={})


@pytest.mark.parametrize("text", ["method: none\nrrsa: {}\n", "{}"])
def test_a_pod_without_instances_is_refused(tmp_path: Path, text: str) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(SettingsError):
        from_files(None, environment={"SHOAL_SETUP_CONFIG": str(path)})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Given(method="magic"), "one of worker-role, access-key, rrsa"),
        (Given(role_arn=ROLE), "rrsaOIDCProviderRoleARN"),
        (Given(role_arn="a", provider_arn=PROVIDER), "rrsaRoleARN"),
        (Given(role_arn=ROLE, provider_arn=PROVIDER, assume_role_arn="b"), "assumeRoleARN"),
        (Given(expire_s=900), "from 3600 to 43200"),
    ],
)
def test_what_the_method_needs_is_asked_for(given: Given, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        settings_of(given)


def test_a_secret_that_cannot_be_read_is_told() -> None:
    with pytest.raises(SettingsError, match="cannot read /nonexistent"):
        pair_of(Given(access_key="LTAI"), Path("/nonexistent"), environment={})
    assert pair_of(Given(access_key="LTAI"), None, environment={}) is None
