"""Every failure has a sentence, whatever it looks like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.cloud.explain import explain
from shoal.core.cloud.failures import Attempt, Failure, Mistake, Stage
from shoal.core.console.chart_values import Method

A = Attempt(
    method=Method.RRSA,
    region="cn-hangzhou",
    instance_id="cri-x",
    role_arn="acs:ram::1:role/a",
    provider_arn="acs:ram::1:oidc-provider/c1",
    assume_role_arn="acs:ram::2:role/b",
    expire_s=43_200,
)


@given(
    stage=st.sampled_from(Stage),
    method=st.sampled_from(Method),
    code=st.text(max_size=40),
    message=st.text(max_size=400),
)
def test_any_failure_is_one_sentence_that_names_its_step(
    stage: Stage, method: Method, code: str, message: str
) -> None:
    failure = Failure(stage=stage, action="GetInstance", code=code, message=message)
    told = explain(failure, Attempt(method=method))
    assert told.sentence.startswith(f"{told.step}: ")
    assert told.sentence.endswith((".", ")"))


@pytest.mark.parametrize(
    ("policy_type", "explicit", "mistake"),
    [
        ("AccountLevelIdentityBasedPolicy", False, Mistake.ASSUME_ACCESS_MISSING),
        ("ResourceGroupLevelIdentityBasedPolicy", False, Mistake.ASSUME_ACCESS_MISSING),
        ("", True, Mistake.ASSUME_ACCESS_MISSING),
        ("AssumeRolePolicy", False, Mistake.ROLE_NOT_TRUSTING),
        ("AssumeRolePolicy", True, Mistake.ROLE_NOT_TRUSTING),
        ("", False, Mistake.ASSUME_DENIED),
    ],
)
def test_which_side_refuses_a_role_is_told_if_the_cloud_says_so(
    policy_type: str, explicit: bool, mistake: Mistake
) -> None:
    failure = Failure(
        stage=Stage.ASSUME,
        action="AssumeRole",
        code="NoPermission",
        denied_policy_type=policy_type,
        denied_explicitly=explicit,
    )
    told = explain(failure, A)
    assert told.mistake is mistake
    assert told.document


@pytest.mark.parametrize(
    ("stage", "code", "message", "mistake"),
    [
        # Spellings of the cloud that a console does not use.
        (Stage.REGISTRY, "Forbidden.RAM", "", Mistake.ACTION_DENIED),
        (Stage.REGISTRY, "NotAuthorized", "", Mistake.ACTION_DENIED),
        (Stage.REGISTRY, "Throttling.Api", "", Mistake.THROTTLED),
        (Stage.OIDC, "Throttling.User", "", Mistake.THROTTLED),
        (Stage.REGISTRY, "InvalidTimeStamp.Expired", "", Mistake.CLOCK_SKEWED),
        (
            Stage.ASSUME,
            "InvalidParameter",
            "The Min/Max value of DurationSeconds is 900/3600",
            Mistake.DURATION_TOO_LONG,
        ),
        (
            Stage.OIDC,
            "AuthenticationFail.NoPermission",
            "No such OIDC Provider registered.",
            Mistake.OIDC_PROVIDER,
        ),
    ],
)
def test_other_spellings_are_known(stage: Stage, code: str, message: str, mistake: Mistake) -> None:
    told = explain(Failure(stage=stage, action="x", code=code, message=message), A)
    assert told.mistake is mistake
