"""`shoal doctor`: which step of the component's documentation was missed."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from shoal.adapters.cloud.lookup import AcrLookup
from shoal.adapters.cloud.settings import ACCESS_KEY_DIR, TOKEN_FILE, CloudSettings
from shoal.cli.doctoring import telling
from shoal.cli.doctoring.checks import Check, cloud_checks, node_checks
from shoal.cli.doctoring.inputs import Given, GivenPair, from_files, pair_of, settings_of
from shoal.core.console.chart_values import Method
from shoal.core.endpoint import Endpoint
from shoal.core.errors import SettingsError

_Optional = typer.Option(show_default=False)


def doctor_command(
    values: Annotated[
        Path | None,
        typer.Option(help="The chart's values.yaml. In a pod of the chart: not needed."),
    ] = None,
    instances: Annotated[str, typer.Option(help="IDs of instances, separated by commas.")] = "",
    method: Annotated[
        str, typer.Option(help="worker-role, access-key or rrsa, if values do not say.")
    ] = "",
    region: Annotated[str, typer.Option(help="The instances' region.")] = "",
    vpc_id: Annotated[str, typer.Option(help="VPC that is linked to the instances.")] = "",
    access_key: Annotated[str, typer.Option(help="ID of an AccessKey pair.")] = "",
    access_key_secret_file: Annotated[
        Path | None, typer.Option(help="File with its secret.")
    ] = None,
    access_key_dir: Annotated[
        Path, typer.Option(help="Folder with accessKey and accessKeySecret.")
    ] = ACCESS_KEY_DIR,
    role_arn: Annotated[str, typer.Option(help="rrsa.rrsaRoleARN.")] = "",
    oidc_provider_arn: Annotated[str, typer.Option(help="rrsa.rrsaOIDCProviderRoleARN.")] = "",
    assume_role_arn: Annotated[str, typer.Option(help="rrsa.assumeRoleARN.")] = "",
    expire_duration: Annotated[int, typer.Option(help="rrsa.expireDuration, seconds.")] = 0,
    token_file: Annotated[Path, typer.Option(help="The pod's projected token.")] = TOKEN_FILE,
    endpoint: Annotated[
        str,
        typer.Option(envvar="SHOAL_CLOUD_ENDPOINT", help="URL of a console, instead of the cloud."),
    ] = "",
    ca_file: Annotated[
        Path | None,
        typer.Option(envvar="SHOAL_CLOUD_CA_FILE", help="What vouches for the endpoint."),
    ] = None,
    metadata: Annotated[
        str,
        typer.Option(
            envvar="SHOAL_CLOUD_METADATA", help="URL of who answers for the metadata service."
        ),
    ] = "",
    registry: Annotated[
        list[str] | None,
        typer.Option(help="A registry's domain that this node has to reach. May be repeated."),
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            help="host:port of agents that this node has to reach; a name stands for all of its "
            "addresses. May be repeated."
        ),
    ] = None,
    plain_http: Annotated[
        bool, typer.Option("--plain-http", help="Ask registries without TLS.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Tell which step of the component's documentation was missed, and what mends it.

    Asks the cloud, or a console, as the set-up Job does. With --registry and --peer also what the
    node that it runs on can reach.

    Exit codes:
    0 nothing is missing;
    1 a step was missed;
    69 something is wrong that may pass by itself;
    78 wrong settings.
    """
    flags = Given(
        instances=tuple(part.strip() for part in instances.split(",") if part.strip()),
        method=method,
        region=region,
        vpc_id=vpc_id,
        access_key=access_key,
        role_arn=role_arn,
        provider_arn=oidc_provider_arn,
        assume_role_arn=assume_role_arn,
        expire_s=expire_duration,
    )
    peers = [Endpoint.parse(one) for one in peer or ()]
    registries = list(registry or ())
    given = flags.over(from_files(values))
    if not given.instances and not (registries or peers):
        raise SettingsError(
            "there is nothing to look at: give --values, --instances, --registry or --peer"
        )
    lookup = None
    if given.instances:
        settings = replace(
            settings_of(given),
            endpoint=endpoint,
            ca_file=ca_file,
            metadata_proxy=metadata,
            access_key_dir=access_key_dir,
            token_file=token_file,
        )
        lookup = AcrLookup(settings, source=_by_hand(settings, given, access_key_secret_file))
    checks = asyncio.run(_look(lookup, given, registries, peers, plain_http=plain_http))
    print(telling.as_json(checks) if as_json else "\n".join(telling.lines(checks)))
    raise typer.Exit(telling.exit_code(checks))


def _by_hand(settings: CloudSettings, given: Given, secret_file: Path | None) -> GivenPair | None:
    return pair_of(given, secret_file) if settings.method is Method.ACCESS_KEY else None


async def _look(
    lookup: AcrLookup | None,
    given: Given,
    registries: list[str],
    peers: list[Endpoint],
    *,
    plain_http: bool,
) -> list[Check]:
    checks = list(await cloud_checks(lookup, given.instances)) if lookup is not None else []
    async for check in node_checks(registries, peers, plain_http=plain_http):
        checks.append(check)
    return checks
