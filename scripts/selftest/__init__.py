"""Tests of what the programs in Python share: the network lab and the chart writer;
and of the check of the house."""
