#!/usr/bin/env python3
"""Print what each episode of a data set holds, without its numbers, as checksums: a line of JSON each. Usage: dump_episodes.py ROOT"""
import hashlib
import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

root = Path(sys.argv[1])
info = json.loads((root / "meta/info.json").read_text())
NUMBERS = {"index", "episode_index"}


def tables(folder):
    return pa.concat_tables(pq.read_table(path) for path in sorted((root / folder).glob("*/*.parquet")))


def sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.exists() else None


def digest(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


rows = tables("data")
for entry in tables("meta/episodes").to_pylist():
    index = entry["episode_index"]
    part = rows.slice(entry["dataset_from_index"], entry["length"])
    files = {key: sha(root / info["video_path"].format(
        video_key=key, chunk_index=entry[f"videos/{key}/chunk_index"], file_index=entry[f"videos/{key}/file_index"]))
        for key, feature in info["features"].items() if feature["dtype"] == "video"}
    numbers = {"dataset_from_index", "dataset_to_index"} | NUMBERS
    place = f"chunk-{index // 1000:03d}/file-{index % 1000:03d}"
    summary = root / f"recorder/episodes/{place}.json"
    if summary.exists():
        summary = json.loads(summary.read_text())
        assert summary.pop("episode_index") == index
        summary.pop("files", None)  # checksums: they follow the files
    print(json.dumps({
        "length": part.num_rows,
        "success": part["success"].to_pylist() if "success" in part.column_names else [],
        "rows": {name: digest(part[name].to_pylist()) for name in part.column_names if name not in NUMBERS},
        "entry": digest({key: value for key, value in entry.items()
                         if key not in numbers and not any(key.startswith(f"stats/{name}/") for name in NUMBERS)}),
        "videos": files,
        "sidecar": sha(root / f"recorder/rows/{place}.parquet"),
        "summary": digest(summary) if isinstance(summary, dict) else None,
    }, sort_keys=True))
