"""The manifest of a folder of spoken sentences without motion (shared/data/speech_text): sound, text, speaker.

    python scripts/manifest_speech.py ../shared/data/speech_text > speech.jsonl
    jamflow prepare speech.jsonl --out data/speech --space lips --tokenizer pinyin
"""
import json
import pathlib
import sys

root = pathlib.Path(sys.argv[1]).resolve()
for line in (root / "meta.jsonl").read_text().splitlines():
    clip = json.loads(line)
    entry = {name: clip[name] for name in ("id", "text", "speaker")}
    print(json.dumps(entry | {"audio": str(root / clip["audio"])}, ensure_ascii=False))
