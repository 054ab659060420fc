"""What the doctor is told: the chart's values, or what its pods are told, and flags over them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from shoal.adapters.cloud.credentials import Credentials
from shoal.adapters.cloud.settings import DEFAULT_EXPIRE_S, CloudSettings
from shoal.core.console import fields
from shoal.core.console.chart_values import Method
from shoal.core.errors import BadInput, SettingsError

MAX_BYTES = 1024**2
SETUP_VARIABLE = "SHOAL_SETUP_CONFIG"
# The cloud's own names for a pair in the environment.
KEY_VARIABLE, SECRET_VARIABLE = "ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What is asked about. `access_key` without a secret: both are in a pod's files."""

    instances: tuple[str, ...] = ()
    method: str = ""
    region: str = ""
    vpc_id: str = ""
    access_key: str = ""
    access_key_secret: str = field(default="", repr=False)
    role_arn: str = ""
    provider_arn: str = ""
    assume_role_arn: str = ""
    expire_s: int = 0

    def over(self, other: "Given") -> "Given":
        """Return this, with what it lacks from `other`."""
        return Given(
            **{
                name: getattr(self, name) or getattr(other, name)
                for name in self.__dataclass_fields__
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenPair:
    """An AccessKey pair that was given by hand, as a source of credentials."""

    pair: Credentials

    async def fetch(self) -> Credentials:
        """Return the pair."""
        return self.pair


def from_files(values: Path | None, *, environment: Mapping[str, str] = os.environ) -> Given:
    """Return what a values file says, or, in a pod of the chart, what the chart tells its pods.

    Raises:
        SettingsError: a file cannot be read, or is of another kind.
    """
    if values is not None:
        return _of_values(_read(values), values)
    setup = environment.get(SETUP_VARIABLE)
    return _of_setup(_read(Path(setup)), Path(setup)) if setup else Given()


def pair_of(
    given: Given, secret_file: Path | None, *, environment: Mapping[str, str] = os.environ
) -> GivenPair | None:
    """Return the pair that was given by hand, or None: then it is in a pod's files.

    Raises:
        SettingsError: the file of the secret cannot be read.
    """
    key_id = given.access_key or environment.get(KEY_VARIABLE, "")
    secret = given.access_key_secret or environment.get(SECRET_VARIABLE, "")
    if secret_file is not None:
        try:
            secret = secret_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"cannot read {secret_file}: {error}") from error
    if key_id and secret:
        return GivenPair(pair=Credentials(key_id=key_id, secret=secret))
    return None


def settings_of(given: Given) -> CloudSettings:
    """Return how the cloud is asked.

    Raises:
        SettingsError: something that the method needs is missing or malformed.
    """
    method = _method(given)
    if method is Method.RRSA:
        for name, value in (
            ("rrsa.rrsaRoleARN", given.role_arn),
            ("rrsa.rrsaOIDCProviderRoleARN", given.provider_arn),
        ):
            _check_arn(name, value)
        if given.assume_role_arn:
            _check_arn("rrsa.assumeRoleARN", given.assume_role_arn)
    if given.expire_s and not fields.MIN_EXPIRE_S <= given.expire_s <= fields.MAX_EXPIRE_S:
        raise SettingsError(
            f"rrsa.expireDuration is {given.expire_s}: from {fields.MIN_EXPIRE_S} to "
            f"{fields.MAX_EXPIRE_S}"
        )
    return CloudSettings(
        method=method,
        region=given.region,
        vpc_id=given.vpc_id,
        role_arn=given.role_arn,
        provider_arn=given.provider_arn,
        assume_role_arn=given.assume_role_arn,
        expire_s=given.expire_s or DEFAULT_EXPIRE_S,
    )


def _method(given: Given) -> Method:
    if given.method:
        try:
            return Method(given.method)
        except ValueError:
            raise SettingsError(f"method is {given.method!r}: one of {', '.join(Method)}") from None
    if given.role_arn or given.provider_arn:
        return Method.RRSA
    return Method.ACCESS_KEY if given.access_key else Method.WORKER_ROLE


def _check_arn(name: str, value: str) -> None:
    try:
        fields.arn(value)
    except BadInput as error:
        raise SettingsError(f"{name} is {value!r}: {error}") from error


def _of_values(told: Mapping[str, Any], path: Path) -> Given:
    rrsa = told.get("rrsa") or {}
    if not isinstance(rrsa, Mapping):
        raise SettingsError(f"{path}: rrsa has to be a section with enable and the ARNs")
    enabled = bool(rrsa.get("enable"))
    return Given(
        instances=_ids(told.get("acrInstances") or told.get("registryInstances") or ""),
        method=Method.RRSA.value if enabled else "",
        region=_text(told, "region"),
        vpc_id=_text(told, "vpcId"),
        access_key="" if enabled else _text(told, "accessKey"),
        access_key_secret="" if enabled else _text(told, "accessKeySecret"),
        role_arn=_text(rrsa, "rrsaRoleARN") if enabled else "",
        provider_arn=_text(rrsa, "rrsaOIDCProviderRoleARN") if enabled else "",
        assume_role_arn=_text(rrsa, "assumeRoleARN") if enabled else "",
        expire_s=_whole(rrsa, "expireDuration") if enabled else 0,
    )


def _of_setup(told: Mapping[str, Any], path: Path) -> Given:
    rrsa = told.get("rrsa")
    if not isinstance(rrsa, Mapping) or "method" not in told:
        raise SettingsError(f"{path} is not what the chart tells its pods")
    method = _text(told, "method")
    if method == "none":
        raise SettingsError(
            f"{path}: the registries are given by hand, so there is no instance to ask about"
        )
    return Given(
        instances=_ids(",".join(map(str, told.get("instances") or ()))),
        method=method,
        region=_text(told, "region"),
        vpc_id=_text(told, "vpcId"),
        role_arn=_text(rrsa, "roleARN"),
        provider_arn=_text(rrsa, "oidcProviderARN"),
        assume_role_arn=_text(rrsa, "assumeRoleARN"),
        expire_s=_whole(rrsa, "expireDuration") if method == Method.RRSA.value else 0,
    )


def _read(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise SettingsError(f"{path} is longer than {MAX_BYTES} bytes")
        found = yaml.safe_load(content)
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SettingsError(f"{path} is not YAML: {error}") from error
    if not isinstance(found, Mapping):
        raise SettingsError(f"{path} has to be a mapping of values")
    return found


def _ids(text: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in str(text).split(",") if part.strip()))


def _text(told: Mapping[str, Any], key: str) -> str:
    value = told.get(key)
    return "" if value is None else str(value).strip()


def _whole(told: Mapping[str, Any], key: str) -> int:
    value = told.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int):
        raise SettingsError(f"rrsa.{key} is {value!r}: a number of seconds")
    return value
