"""Benchmarks: one script for each question, its figures beside their bounds."""
