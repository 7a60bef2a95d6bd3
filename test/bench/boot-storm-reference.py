"""Starts COUNT guests of one definition from THREADS threads; prints the seconds, then destroys them all."""

import queue
import sys
import threading
import time
import uuid

import libvirt

path, count, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with open(path, encoding="utf-8") as file:
    definition = file.read()
connection = libvirt.open("qemu:///system")
work = queue.SimpleQueue()
for number in range(count):
    name = f"storm-{number}"
    work.put(definition.replace("@NAME@", name).replace("@UUID@", str(uuid.uuid4())))
started, failures = [], []


def each(todo, act):
    def run():
        while True:
            try:
                item = todo.get_nowait()
            except queue.Empty:
                return
            try:
                act(item)
            except libvirt.libvirtError as error:
                failures.append(error)

    pool = [threading.Thread(target=run) for _ in range(threads)]
    for thread in pool:
        thread.start()
    for thread in pool:
        thread.join()


began = time.monotonic()
each(work, lambda xml: started.append(connection.createXML(xml, 0)))
seconds = time.monotonic() - began
ending = queue.SimpleQueue()
for domain in started:
    ending.put(domain)
each(ending, lambda domain: domain.destroy())
if failures:
    sys.exit(f"{len(failures)} failed: {failures[0]}")
print(seconds)
