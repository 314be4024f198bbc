"""Rates of links, by tbf (tc-tbf(8)): what leaves an interface is limited.

A link with a rate both ways is shaped at both its ends. tbf counts Ethernet
frames without preamble and checksum: of 100 Mbit/s 95.6 remain for what TCP
carries, so no TCP tool can be faster than 1.046 wire times.

A tbf that is replaced (`tc qdisc replace`) while packets wait in it may never
send again; so a rate is changed by taking the old one away first, and what
waits in it is lost, as on a port that is set anew.
"""

import re

from .command import batch, output

UNITS = {"k": 1e3, "m": 1e6, "g": 1e9}


def parse_rate(text):
    """Bits per second of "100mbit", "1.5gbit"; None for "none"."""
    if text == "none":
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg])bit", text.lower())
    if not found or float(found[1]) == 0:
        raise ValueError(f"{text!r} is no rate like 100mbit, 1gbit or none")
    return round(float(found[1]) * UNITS[found[2]])


def limit(device, rate, burst_bytes, queue_bytes):
    """The line for tc that limits what leaves a device to a rate in bits per second.

    `burst_bytes` may leave at once, so much and no more waits for its turn:
    `queue_bytes`, and what comes then is dropped.
    """
    return (
        f"qdisc add dev {device} root tbf rate {rate}bit burst {burst_bytes} limit {queue_bytes}"
    )


def is_limited(device):
    """Whether a device here has a limit."""
    return " tbf " in f" {output(['tc', 'qdisc', 'show', 'dev', device, 'root'])}"


def set_limit(device, rate, burst_bytes, queue_bytes):
    """Limit a device here, whatever limit it had."""
    before = [f"qdisc del dev {device} root"] if is_limited(device) else []
    batch("tc", [*before, limit(device, rate, burst_bytes, queue_bytes)])
