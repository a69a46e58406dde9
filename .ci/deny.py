"""Checks the dependencies against deny.toml: what `cargo deny check licenses bans sources` says of these keys, without cargo-deny,
which is built with git, HTTP and TLS and optimised as a whole: many minutes on two cores, for three lists.

Prints what is wrong, a line each; exit 1 if there is any."""

import json
import re
import subprocess
import sys
import tomllib


def is_allowed(expression, allowed):
    """An SPDX expression, or the older form `MIT/Apache-2.0`: AND binds closer than OR, WITH belongs to its licence."""
    words = re.findall(r"[()]|[\w.+-]+", expression.replace("/", " OR "))

    def either():
        value = both()
        while words and words[0] == "OR":
            words.pop(0)
            value = both() or value
        return value

    def both():
        value = one()
        while words and words[0] == "AND":
            words.pop(0)
            value = one() and value
        return value

    def one():
        word = words.pop(0)
        if word == "(":
            value = either()
            words.pop(0)
            return value
        if words and words[0] == "WITH":
            word += f" {words.pop(0)} {words.pop(0)}"
        return word in allowed

    return either()


def licenses(packages, rules):
    for package in packages.values():
        expression = package["license"]
        if package["source"] and not (expression and is_allowed(expression, rules["allow"])):
            yield f"{package['name']} {package['version']}: its licence is {expression or 'not told'}"


def bans(packages, users, rules):
    for rule in rules["deny"]:
        found = [package for package in packages.values() if package["name"] == rule["crate"]]
        if rule.get("deny-multiple-versions"):
            if len(found) > 1:
                yield f"{rule['crate']} is there in versions {', '.join(package['version'] for package in found)}"
            continue
        for package in found:
            by = {packages[user]["name"] for user in users.get(package["id"], [])} - set(rule.get("wrappers", []))
            if by or "wrappers" not in rule:
                yield f"{rule['crate']} is used by {', '.join(sorted(by))}: {rule['reason']}"


def sources(packages, rules):
    known = {f"registry+{registry}" for registry in rules["allow-registry"]}
    for package in packages.values():
        if package["source"] not in known | {None}:
            yield f"{package['name']} {package['version']} is from {package['source']}"


def main():
    with open("deny.toml", "rb") as file:
        rules = tomllib.load(file)
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--all-features"]
    metadata = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    users = {}
    for node in metadata["resolve"]["nodes"]:
        for dependency in node["dependencies"]:
            users.setdefault(dependency, []).append(node["id"])
    wrong = [
        *licenses(packages, rules["licenses"]),
        *bans(packages, users, rules["bans"]),
        *sources(packages, rules["sources"]),
    ]
    print(*wrong, sep="\n", end="\n" if wrong else "", file=sys.stderr)
    sys.exit(bool(wrong))


main()
