"""Fakes, conformance suites and the test bed. Ships in the wheel; production never imports it."""
