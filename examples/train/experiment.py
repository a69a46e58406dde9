"""The loop of examples/train/README.md, from made-up transactions to a model whose features are served and verified.

    experiment.py [--headwater PATH] [--data DIR]
"""
import argparse
import datetime
import json
import os
import pathlib
import subprocess
import time

import numpy
import pyarrow
import pyarrow.parquet
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

HERE = pathlib.Path(__file__).parent
CARDS, DAYS, STOLEN = 1500, 30, 500
MINUTE, HOUR, DAY = (seconds * 1_000_000 for seconds in (60, 3_600, 86_400))
AGES = {"fresh": 0, "a minute old": MINUTE, "an hour old": HOUR, "a day old": DAY}


def transactions(random, now):
    """Quiet cards; sprees, which are as fast and are no fraud but go on for hours; and stolen cards, for which some quick purchases follow
    each other. Amounts and shops are as anybody's, so only what the card did within the last minutes gives it away."""
    start = now - DAYS * DAY
    quiet = CARDS * DAYS * 4
    card, ts, fraud = [random.integers(0, CARDS, quiet)], [random.integers(start, now, quiet)], [numpy.zeros(quiet, bool)]

    def burst(number, least, most, gap, is_fraud):
        for at in random.integers(start + DAY, now - HOUR, number):
            n = random.integers(least, most)
            card.append(numpy.full(n, random.integers(0, CARDS)))
            ts.append(at + numpy.cumsum(random.exponential(gap, n)).astype("int64"))
            # The first two look like any other.
            fraud.append(numpy.arange(n) >= 2 if is_fraud else numpy.zeros(n, bool))
    burst(STOLEN, 7, 13, 45 * 1_000_000, True)
    burst(STOLEN, 4, 9, 20 * MINUTE, False)
    card, ts, fraud = map(numpy.concatenate, (card, ts, fraud))
    n = len(ts)
    late = numpy.where(random.random(n) < 0.03, random.exponential(3 * MINUTE, n), random.exponential(300_000, n))
    arrived = ts + late.astype("int64")
    kept = numpy.flatnonzero(arrived < now)
    kept = kept[numpy.argsort(arrived[kept], kind="stable")]
    amount = numpy.round(random.lognormal(3.2, 0.9, n), 2)
    return {"card_id": card[kept], "ts": ts[kept], "ingested_at": arrived[kept], "amount": amount[kept],
            "merchant_id": random.integers(0, 400, n)[kept], "is_fraud": fraud[kept]}


def table(columns):
    times = pyarrow.timestamp("us", "UTC")
    return pyarrow.table({name: pyarrow.array(values, times if name in ("ts", "ingested_at") or name in AGES else None)
                          for name, values in columns.items()})


def write(random, all, now, data):
    """The history up to two hours ago, the stream since then, and labels: every fraud, and other transactions."""
    for dir in ("history", "stream"):
        (data / dir).mkdir(parents=True, exist_ok=True)
    past = all["ingested_at"] < now - 2 * HOUR
    events = {name: values for name, values in all.items() if name != "is_fraud"}
    pyarrow.parquet.write_table(table({name: values[past] for name, values in events.items()}), data / "history/a.parquet")
    text = lambda us: datetime.datetime.fromtimestamp(us / 1e6, datetime.timezone.utc).isoformat(timespec="microseconds")
    with open(data / "stream/0.jsonl", "w") as out:
        for row in range(int(past.sum()), len(past)):
            out.write(json.dumps({name: text(int(values[row])) if name in ("ts", "ingested_at") else values[row].item()
                                  for name, values in events.items()}) + "\n")
    labelled = numpy.flatnonzero(all["is_fraud"] | (random.random(len(past)) < 0.06))
    labels = {name: all[name][labelled] for name in ("card_id", "amount", "is_fraud")}
    labels |= {age: all["ts"][labelled] - by for age, by in AGES.items()}
    labels["ts"] = labels["fresh"]
    pyarrow.parquet.write_table(table(labels), data / "labels.parquet")


def train(path):
    """A model on the older 70% of the labels, judged by the others."""
    rows = pyarrow.parquet.read_table(path)
    names = ["amount"] + [name for name in rows.column_names if name.startswith("card__")]
    x = numpy.column_stack([rows[name].to_numpy(zero_copy_only=False).astype("float64") for name in names])
    x, y = numpy.nan_to_num(x, nan=-1), rows["is_fraud"].to_numpy(zero_copy_only=False)
    older = rows["ts"].to_numpy() <= numpy.quantile(rows["ts"].to_numpy().astype("int64"), 0.7).astype("datetime64[us]")
    model = RandomForestClassifier(80, min_samples_leaf=5, n_jobs=-1, random_state=1).fit(x[older], y[older])
    auc = roc_auc_score(y[~older], model.predict_proba(x[~older])[:, 1])
    return auc, sorted(zip(model.feature_importances_, names), reverse=True)


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--headwater", default="headwater")
    args.add_argument("--data", type=pathlib.Path, default=HERE / "data")
    args = args.parse_args()
    data = args.data.resolve()
    random, now = numpy.random.default_rng(7), time.time_ns() // 1_000
    write(random, transactions(random, now), now, data)
    job = (HERE / "job.toml").read_text()
    # The job before somebody had the idea to look at the last hour.
    before = job.replace('"10m", ', "").replace('"1h", ', "")
    (data / "before.toml").write_text(before.split("[features.card.derived]")[0] + before[before.index("[state]"):])
    (data / "job.toml").write_text(job)

    def headwater(command, name, *more, **how):
        env = os.environ | {"TRAIN_DATA": str(data), "HEADWATER_LOG": "warn"}
        return subprocess.run([args.headwater, command, data / name, *more], check=True, env=env, text=True, **how)

    def rows(name, age):
        out = data / f"rows-{age.replace(' ', '-')}.parquet"
        headwater("backfill", name, "--spine", data / "labels.parquet", "--time", age, "--out", out)
        return out
    before, _ = train(rows("before.toml", "fresh"))
    results = {age: train(rows("job.toml", age)) for age in AGES}
    print(f"{'features':28}  AUC\n{'fresh, but not the last hour':28}  {before:.3f}")
    for age, (auc, _) in results.items():
        print(f"{age:28}  {auc:.3f}")
    print("\nimportance of fresh features")
    for share, name in results["fresh"][1][:6]:
        print(f"{name:28}  {share:.3f}")

    # The same file is deployed, and asked as a model would.
    with open(data / "run.log", "w") as log:
        env = os.environ | {"TRAIN_DATA": str(data)}
        running = subprocess.Popen([args.headwater, "run", data / "job.toml"], env=env, stderr=log)
    try:
        asked = 0
        for card in range(CARDS):
            if asked == 40 or running.poll() is not None:
                break
            got = subprocess.run([args.headwater, "get", data / "job.toml", "card", f"card_id={card}"], env=env, capture_output=True, text=True)
            asked += got.returncode == 0 and json.loads(got.stdout)["as_of"] is not None
            time.sleep(0.2 if got.returncode else 0)
    finally:
        running.terminate()
        running.wait()
    print(f"\n{asked} rows were served; verified:")
    told = headwater("verify", "job.toml", "--json", stdout=subprocess.PIPE).stdout
    report = json.loads(told)
    for column in report["groups"][0]["columns"]:
        print(f"{column['column']:28}  {column['equal_to_arrival']} of {column['compared']} are what a model is trained on")
    result = {"before": before, "auc": {age: auc for age, (auc, _) in results.items()}, "asked": asked, "verified": report,
              "importance": {name: share for share, name in results["fresh"][1]}}
    (data / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
