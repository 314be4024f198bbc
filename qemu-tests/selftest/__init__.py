"""Tests of the harness itself; they start no machine."""
