"""The manifest of the FACEGOOD recordings (shared/data/facegood_mandarin): sound and blendshapes at 30 fps, cut into clips.

    python scripts/manifest_facegood.py ../shared/data/facegood_mandarin > facegood.jsonl
    jamflow prepare facegood.jsonl --out data/facegood --space lips        (or --space blendshapes)

The recordings last up to two minutes: they are cut every 9.6 s, a multiple of 0.04 s (motion) and of 0.16 s (both clocks).
"""
import json
import pathlib
import sys

SECONDS = 9.6
root = pathlib.Path(sys.argv[1]).resolve()
for line in (root / "meta.jsonl").read_text().splitlines():
    clip = json.loads(line)
    for part in range(int(min(clip["audio_s"], clip["frames"] / clip["fps"]) / SECONDS)):
        entry = {"id": f"{clip['id']}-{part:02d}", "speaker": "facegood", "motion_key": "bs", "fps": clip["fps"]}
        entry |= {"start": round(part * SECONDS, 2), "end": round((part + 1) * SECONDS, 2)}
        print(json.dumps(entry | {"audio": str(root / clip["audio"]), "motion": str(root / clip["motion"])}))
