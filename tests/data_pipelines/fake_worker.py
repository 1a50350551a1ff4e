"""A worker for tests: the mouth's opening is the brightness of the picture's left half; a dark picture shows no face, a blue one
two.

    python fake_worker.py [crash|hang|nonsense|mute|log FILE]
"""
import json
import os
import sys
import time

import numpy as np

mode = sys.argv[1] if len(sys.argv) > 1 else ""
out = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
print("loading", file=sys.stderr)
if mode == "mute":
    time.sleep(60)
if mode == "log":
    with open(sys.argv[2], "a") as file:
        file.write("started\n")
hello = {"protocol": 1, "name": "fake", "version": "1", "gives": "motion", "space": "lips", "names": ["opening", "width"]}
out.write(json.dumps(hello).encode() + b"\n")
out.flush()
while line := sys.stdin.buffer.readline():
    head = json.loads(line)
    if "clip" in head:
        continue
    picture = np.frombuffer(sys.stdin.buffer.read(int(np.prod(head["shape"]))), np.uint8).reshape(head["shape"]).astype(float)
    if mode == "crash":
        print("Illegal instruction in the face graph", file=sys.stderr)
        os._exit(7)
    if mode == "hang":
        time.sleep(60)
    if mode == "nonsense":
        out.write(b"Segmentation fault\n")
        out.flush()
        continue
    left = picture[:, : picture.shape[1] // 2].mean((0, 1))
    faces = 0 if left.max() < 20 else 2 if left[2] > left[0] + 60 else 1
    values = np.tile(np.array([[left[1] / 255, 0.5]], "<f4"), (faces, 1))
    out.write(json.dumps({"shape": values.shape, "dtype": "float32"}).encode() + b"\n" + values.tobytes())
    out.flush()
