"""What passes by itself, and by which heading a step is named."""

from shoal.core.cloud.failures import Advice, Attempt, CloudFailed, Mistake, grant_step
from shoal.core.console.chart_values import Method


def test_a_step_is_named_as_the_documentation_does() -> None:
    assert [grant_step(Attempt(method=method)) for method in Method] == [
        "Step 2, Method 1 (worker RAM role)",
        "Step 2, Method 2 (AccessKey pair)",
        "Step 2, Method 3 (RRSA)",
    ]
    across = Attempt(method=Method.RRSA, assume_role_arn="acs:ram::1:role/b")
    assert grant_step(across) == "Step 2, Method 3 (RRSA), cross-account"


def test_only_what_needs_nobodys_doing_passes() -> None:
    def advice(mistake: Mistake) -> Advice:
        return Advice(mistake=mistake, step="Step 1", sentence="Step 1: x.")

    assert advice(Mistake.THROTTLED).passes
    assert not advice(Mistake.ACTION_DENIED).passes
    failed = CloudFailed(advice(Mistake.P2P_OFF))
    assert (str(failed), failed.exit_code) == ("Step 1: x.", 69)
