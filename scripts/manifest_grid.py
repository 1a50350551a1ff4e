"""The manifest of the GRID clips (shared/data/grid_s1): sound, sentence, word times and face landmarks of one speaker.

    python scripts/manifest_grid.py ../shared/data/grid_s1 > grid.jsonl
    jamflow prepare grid.jsonl --out data/grid --space landmarks

`lmk_q64` holds pixel coordinates times 64; the factor goes with the rigid alignment. Word times are in seconds; "sil" is silence.
"""
import json
import pathlib
import sys

root = pathlib.Path(sys.argv[1]).resolve()
for line in (root / "meta.jsonl").read_text().splitlines():
    clip = json.loads(line)
    entry = {name: clip[name] for name in ("id", "text", "speaker", "words", "fps")}
    entry |= {"audio": str(root / clip["audio"]), "motion": str(root / clip["motion"]), "motion_key": "lmk_q64"}
    print(json.dumps(entry))
