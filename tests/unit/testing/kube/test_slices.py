"""EndpointSlices as Kubernetes' controller writes them."""

from shoal.testing.kube.objects import ResourcePath
from shoal.testing.kube.slices import endpoint, endpoint_slice, slice_path


def test_a_slice_is_of_its_endpoints_family() -> None:
    assert endpoint_slice([endpoint("10.0.0.1")])["addressType"] == "IPv4"
    assert endpoint_slice([endpoint("fd00::1")])["addressType"] == "IPv6"


def test_conditions_are_as_said() -> None:
    assert endpoint("10.0.0.1", ready=False)["conditions"] == {
        "ready": False,
        "serving": True,
        "terminating": False,
    }


def test_the_path_is_a_resource_s() -> None:
    assert ResourcePath.parse(slice_path("a")).resource == "endpointslices"
