"""What the chart's set-up containers do: on each node in `node`, once for the cluster in `cluster`.

docs/kubernetes.md is the contract between the chart's templates and these commands.
"""
