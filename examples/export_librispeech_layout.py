"""Write English speech in LibriSpeech's layout: export_librispeech_layout.py TABLE CORPUS OUT."""

import sys
from collections import Counter
from pathlib import Path

import soundfile

from hive_mtl.audio import SAMPLE_RATE, Segment, load
from hive_mtl.learn import corpora

table, corpus, out = sys.argv[1], sys.argv[2], Path(sys.argv[3])
read = corpora.read(table).to_pylist()
rows = [row for row in read if row["corpus"] == corpus and row["speaker"]]
if not rows:
    sys.exit(f"{table}: names no voices of a corpus '{corpus}': see its column 'corpus'")
numbers, speakers = Counter[str](), dict[str, str]()
for row in rows:
    speaker, subset = row["speaker"], f"{row['split'] or 'all'}-clean"
    name = f"{speaker}-1-{numbers[speaker]:04}"
    numbers[speaker] += 1
    path = out / subset / speaker / "1" / f"{name}.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = load(Segment(Path(row["path"]), row["start_s"], row["duration_s"]))
    soundfile.write(path, wave, SAMPLE_RATE, subtype="PCM_16")
    gender = {"female": "F", "male": "M"}.get(row.get("gender"), "?")
    speakers[speaker] = f"{speaker} | {gender} | {subset} | 0 | {corpus} {speaker}"
head = ";ID |SEX| SUBSET | MINUTES | NAME"
(out / "SPEAKERS.TXT").write_text("\n".join([head, *speakers.values(), ""]))
print(f"{out}: {len(rows)} recordings of {len(speakers)} voices")
