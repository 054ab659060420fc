"""The account that records of tests belong to, where it does not matter which."""

ACCOUNT = "1000000000000001"
