"""`shoal setup`: the commands of the chart, each with a word on what it does."""

from typer.testing import CliRunner

from shoal.cli.setup import setup_app


def test_every_command_is_listed() -> None:
    said = CliRunner().invoke(setup_app, ["--help"], env={"COLUMNS": "100"}).output
    assert "install" in said
