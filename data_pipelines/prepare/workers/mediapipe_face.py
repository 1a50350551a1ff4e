"""Face landmarks by MediaPipe 0.10.21's FaceMesh, as a program of its own: it needs numpy < 2. See
data_pipelines/prepare/worker.py.

    python mediapipe_face.py [MOST_FACES]        pictures [H, W, 3] uint8 on standard input -> [faces, 478, 3] float32

x and y are pixels, z is on the scale of x (smaller towards the camera). Tracking goes from picture to picture; a `clip` message
resets it. This file runs in another environment: it imports nothing of this project.
"""
import json
import os
import sys


def main() -> None:
    wire_in, wire_out = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints goes to standard error
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import mediapipe
    import numpy as np

    faces = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    mesh = None

    def send(head: dict, payload: bytes = b"") -> None:
        wire_out.write(json.dumps(head).encode() + b"\n" + payload)
        wire_out.flush()

    send({"protocol": 1, "name": "mediapipe", "version": mediapipe.__version__, "takes": "pictures", "gives": "landmarks",
          "landmarks": 478, "options": f"refined, {faces} faces"})  # fmt: skip
    while line := wire_in.readline():
        head = json.loads(line)
        if "clip" in head:
            if mesh is not None:
                mesh.close()
            mesh = mediapipe.solutions.face_mesh.FaceMesh(max_num_faces=faces, refine_landmarks=True)
            continue
        shape = head["shape"]
        data = wire_in.read(int(np.prod(shape)))
        if len(data) < np.prod(shape):
            return
        picture = np.frombuffer(data, np.uint8).reshape(shape)
        high, wide = shape[:2]
        found = mesh.process(picture).multi_face_landmarks or []
        points = np.array([[(p.x * wide, p.y * high, p.z * wide) for p in face.landmark] for face in found], "<f4")
        points = points.reshape(len(found), 478, 3)
        send({"shape": points.shape, "dtype": "float32"}, points.tobytes())


if __name__ == "__main__":
    main()
