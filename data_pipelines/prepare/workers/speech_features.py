"""Hidden states of a wav2vec2 or HuBERT model, as a program of its own: it needs torch and transformers. See
data_pipelines/prepare/worker.py.

    python speech_features.py FOLDER LAYER       sound [N] float32 at 16 kHz on standard input -> [rows, width] float32, 50 rows a
                                                 second

Sound is normalised to mean 0 and variance 1 where the folder's preprocessor_config.json says so (do_normalize).
This file may run in another environment: it imports nothing of this project.
"""
import json
import os
import sys


def main() -> None:
    wire_in, wire_out = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints goes to standard error
    os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
    import numpy as np
    import torch
    import transformers

    folder, layer = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    transformers.logging.set_verbosity_error()
    model = transformers.AutoModel.from_pretrained(folder, local_files_only=True).eval()
    normalise = True
    if os.path.exists(path := os.path.join(folder, "preprocessor_config.json")):
        with open(path) as file:
            normalise = bool(json.load(file).get("do_normalize", True))

    def send(head: dict, payload: bytes = b"") -> None:
        wire_out.write(json.dumps(head).encode() + b"\n" + payload)
        wire_out.flush()

    send({"protocol": 1, "name": model.config.model_type, "version": f"transformers {transformers.__version__} layer {layer}",
          "takes": "sound", "gives": "features", "rate": 16_000})  # fmt: skip
    while line := wire_in.readline():
        head = json.loads(line)
        if "clip" in head:
            continue
        data = wire_in.read(4 * head["shape"][0])
        sound_N = np.frombuffer(data, "<f4").astype(np.float32)
        if normalise:
            sound_N = (sound_N - sound_N.mean()) / np.sqrt(sound_N.var() + 1e-7)
        try:
            with torch.inference_mode():
                rows = model(torch.from_numpy(sound_N)[None], output_hidden_states=True).hidden_states[layer][0].float().numpy()
        except RuntimeError as error:  # shorter than the convolutions reach
            send({"error": str(error).splitlines()[0]})
            continue
        send({"shape": rows.shape, "dtype": "float32"}, rows.astype("<f4").tobytes())


if __name__ == "__main__":
    main()
