"""Asks a guest for an echo every 5 ms until standard input ends; prints the longest silence in milliseconds."""

import os
import select
import socket
import struct
import sys
import time

every = 0.005
address = sys.argv[1]
ours = os.getpid() & 0xFFFF
pings = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def echo(number):
    head = struct.pack("!BBHHH", 8, 0, 0, ours, number & 0xFFFF)
    return struct.pack("!BBHHH", 8, 0, checksum(head), ours, number & 0xFFFF)


longest = 0.0
heard = None
number = 0
due = time.monotonic()
while True:
    now = time.monotonic()
    if now >= due:
        number += 1
        due = now + every
        try:
            pings.sendto(echo(number), (address, 0))
        except OSError:
            pass
    readable, _, _ = select.select([pings, sys.stdin], [], [], max(0, due - time.monotonic()))
    if pings in readable:
        packet, (sender, _) = pings.recvfrom(2048)
        kind, _, _, identity, _ = struct.unpack("!BBHHH", packet[20:28])
        if kind == 0 and identity == ours and sender == address:
            now = time.monotonic()
            if heard is None:
                print("heard", flush=True)
            else:
                longest = max(longest, now - heard)
            heard = now
    if sys.stdin in readable:
        line = sys.stdin.readline()
        if line == "":
            break
        # A line begins a new measurement.
        longest = 0.0
if heard is not None:
    print(round(max(longest, time.monotonic() - heard) * 1000, 1), flush=True)
