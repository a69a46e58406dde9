"""Logins of three days, the same every time: most of them people's own, and three accounts that are taken over in the last minutes.

    data/logins.jsonl    what is kept: up to the last evening, ragged by a few minutes
    data/live.jsonl      what arrives: from an hour before that on
"""

import datetime
import json
import pathlib
import random

START = datetime.datetime(2026, 3, 2, tzinfo=datetime.timezone.utc)
END = START + datetime.timedelta(days=3)
ACCOUNTS = 300


def main():
    dice = random.Random(2026)
    homes = {f"a{n}": (f"d{n}", dice.choice(["DE", "FR", "US"]), f"10.0.{n % 200}.{n % 7}") for n in range(ACCOUNTS)}
    logins = [login for _ in range(8_000) for login in at_home(dice, homes)]
    logins += taken_over(dice, homes["a17"])
    logins.sort(key=lambda login: login["ts"])
    for n, login in enumerate(logins):
        login["id"] = n
    # What is kept ends around a time, and what arrives begins before it: nobody knows exactly which is in both.
    kept_until = END - datetime.timedelta(hours=6)
    kept = [login for login in logins if at(login) < kept_until + datetime.timedelta(seconds=dice.randrange(-180, 180))]
    live = [login for login in logins if at(login) >= kept_until - datetime.timedelta(hours=1)]
    pathlib.Path("data").mkdir(exist_ok=True)
    write("data/logins.jsonl", kept)
    write("data/live.jsonl", live)
    print(f"{len(kept):,} logins are kept, {len(live):,} arrive; {len(kept) + len(live) - len(logins):,} are in both")


def at_home(dice, homes):
    """Somebody logs in, and may mistype."""
    account, (device, country, ip) = dice.choice(list(homes.items()))
    ts = START + datetime.timedelta(seconds=dice.randrange(3 * 86_400 - 600))
    if dice.random() < 0.02:
        country = dice.choice(["ES", "IT"])  # on the road
    for _ in range(dice.choice([0, 0, 0, 0, 1, 2])):
        yield event(ts, account, device, country, ip, False)
        ts += datetime.timedelta(seconds=dice.randrange(5, 40))
    yield event(ts, account, device, country, ip, True)


def taken_over(dice, home):
    """From one address the passwords of many are tried; three fit, and whoever it is looks around from several devices."""
    ts = END - datetime.timedelta(minutes=9)
    for n in range(120):
        ts += datetime.timedelta(seconds=dice.randrange(1, 4))
        account = "a17" if n % 10 == 9 else f"a{dice.randrange(ACCOUNTS)}"
        yield event(ts, account, f"bot{n % 3}", "RO", "203.0.113.9", False)
    yield event(END - datetime.timedelta(minutes=4), "a17", "bot0", "RO", "203.0.113.9", True)
    yield event(END - datetime.timedelta(minutes=3), "a52", "bot1", "RO", "203.0.113.9", True)
    yield event(END - datetime.timedelta(seconds=150), "a201", "bot2", "RO", "203.0.113.9", True)
    yield event(END - datetime.timedelta(minutes=2), "a52", "bot2", "RO", "203.0.113.9", True)
    yield event(END - datetime.timedelta(minutes=1), "a17", "bot1", "RO", "203.0.113.9", True)


def event(ts, account, device, country, ip, ok):
    return {"ts": ts.isoformat().replace("+00:00", "Z"), "account": account, "device": device, "country": country, "ip": ip, "ok": ok}


def at(login):
    return datetime.datetime.fromisoformat(login["ts"].replace("Z", "+00:00"))


def write(path, logins):
    pathlib.Path(path).write_text("".join(json.dumps(login) + "\n" for login in logins))


main()
