"""Answers questions about projects with the real weasel: one JSON document a line, in and out."""

import json
import os
import sys
from pathlib import Path

import srsly
from weasel.cli.remote_storage import get_command_hash, get_content_hash
from weasel.util import load_project_config, parse_config_overrides

answers = os.fdopen(os.dup(1), "w")
# What weasel says to people would stand between the answers.
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def keys(question):
    root = Path(question["root"])
    os.environ.update(question["environment"])
    overrides = parse_config_overrides(list(question["overrides"]))
    config = load_project_config(root, overrides=overrides)
    commands = []
    for command in config.get("commands", []):
        deps = [root / dep for dep in command.get("deps", [])]
        known = all(dep.exists() for dep in deps)
        outputs = {}
        for path in command["outputs"]:
            there = (root / path).exists()
            outputs[path] = get_content_hash(root / path) if there else None
        commands.append(
            {
                "name": command["name"],
                "script": command["script"],
                "key": get_command_hash("", "", deps, command["script"]) if known else None,
                "outputs": outputs,
            }
        )
    return {"commands": commands}


def layout(question):
    data = question["data"]
    if question["name"] is not None:
        data[question["name"]] = {
            "cmd": f"python -m weasel run {question['name']}",
            "script": question["script"],
            "deps": [{"path": question["dep"], "md5": "d41d8cd98f00b204e9800998ecf8427e"}],
            "outs": [{"path": "o", "md5": None}],
        }
    return {"text": srsly.yaml_dumps(data)}


for line in sys.stdin:
    question = json.loads(line)
    try:
        answer = {"keys": keys, "layout": layout}[question["ask"]](question)
        text = json.dumps(answer)
        text.encode("utf8")
    except BaseException as error:
        text = json.dumps({"fails": repr(error)[:300]})
    answers.write(text + "\n")
    answers.flush()
