"""A link between two hosts that delays and drops packets: two TUN devices and this process between them.

usage: lossy_link.py --delay SECONDS --loss SHARE --seed N READY REPORT

The kernel's own way (tc netem) is a module that many kernels lack. This makes the devices "left" and "right" in the
network namespace in which it is started, and writes the file READY; whoever wants two hosts moves them to namespaces of
their own. A packet that goes into one comes out of the other SECONDS later, or, with the probability SHARE, never.
SIGTERM ends it: REPORT then has a line of JSON that counts packets and says how long the quickest was held.
"""

import argparse
import fcntl
import heapq
import json
import os
import random
import select
import signal
import struct
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
LARGEST_PACKET = 1 << 16


def open_device(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return fd


class Link:
    def __init__(self, delay, loss, seed):
        self.delay, self.loss = delay, loss
        self.random = random.Random(seed)
        self.end = [open_device("left"), open_device("right")]
        self.under_way = []  # (time at which it comes out, number, descriptor, packet, time at which it went in)
        self.packets = self.dropped = 0
        self.quickest = None

    def take(self, fd):
        """All packets that wait at one end."""
        other = self.end[1] if fd == self.end[0] else self.end[0]
        while True:
            try:
                packet = os.read(fd, LARGEST_PACKET)
            except OSError:  # none is left, or the device is down
                return
            self.packets += 1
            if self.random.random() < self.loss:
                self.dropped += 1
                continue
            now = time.monotonic()
            heapq.heappush(self.under_way, (now + self.delay, self.packets, other, packet, now))

    def give(self):
        """All packets whose time has come. Returns the seconds until the next one's, or None."""
        while self.under_way and self.under_way[0][0] <= time.monotonic():
            _, _, fd, packet, since = heapq.heappop(self.under_way)
            held = time.monotonic() - since
            self.quickest = held if self.quickest is None else min(self.quickest, held)
            try:
                os.write(fd, packet)
            except OSError:  # a device that is down takes nothing
                pass
        return max(0.0, self.under_way[0][0] - time.monotonic()) if self.under_way else None

    def run(self):
        while True:
            for fd in select.select(self.end, [], [], self.give())[0]:
                self.take(fd)


class Stopped(Exception):
    pass


def on_signal(number, frame):
    raise Stopped


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--delay", type=float, required=True)
    parser.add_argument("--loss", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("ready")
    parser.add_argument("report")
    args = parser.parse_args()
    link = Link(args.delay, args.loss, args.seed)
    signal.signal(signal.SIGTERM, on_signal)
    open(args.ready, "w").close()
    try:
        link.run()
    except Stopped:
        pass
    with open(args.report, "w") as report:
        json.dump({"packets": link.packets, "dropped": link.dropped, "quickest_s": link.quickest}, report)


if __name__ == "__main__":
    main()
