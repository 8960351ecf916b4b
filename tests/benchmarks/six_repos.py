"""The company that the benchmarks bake: six repos, one image.

web, api and worker are Python, front and hooks are Node, site is 200 static pages. The locks are in ``content/``, so
that every run installs the same versions; the programs are as small as a process can be that answers a health check.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

CONTENT = Path(__file__).with_name("content")
PYTHON = ("web", "api", "worker")
NODE = ("front", "hooks")
REPOS = (*PYTHON, *NODE, "site")
PAGES = 200

FILES = {
    "web": {
        "Procfile": "web: gunicorn app:app --bind 0.0.0.0:$PORT --no-control-socket\n",
        "app.py": "from flask import Flask\n\napp = Flask(__name__)\n\n\n@app.get('/')\ndef ok():\n    return 'web'\n",
    },
    "api": {
        "Procfile": "web: uvicorn app:app --host 0.0.0.0 --port $PORT\n",
        "app.py": "from fastapi import FastAPI\n\napp = FastAPI()\n\n\n@app.get('/')\ndef ok():\n    return 'api'\n",
    },
    "worker": {
        "Procfile": "web: python status.py\n",
        "status.py": (
            "import os\nfrom http.server import HTTPServer, SimpleHTTPRequestHandler\n\nimport celery  # noqa: F401\n\n"
            "HTTPServer(('0.0.0.0', int(os.environ['PORT'])), SimpleHTTPRequestHandler).serve_forever()\n"
        ),
    },
    "front": {
        "Procfile": "web: node server.js\n",
        "server.js": (
            "const app = require('express')();\napp.get('/', (_, answer) => answer.send('front'));\n"
            "app.listen(Number(process.env.PORT), '0.0.0.0');\n"
        ),
    },
    "hooks": {
        "Procfile": "web: node server.js\n",
        "server.js": (
            "const app = require('fastify')();\napp.get('/', async () => 'hooks');\n"
            "app.listen({ port: Number(process.env.PORT), host: '0.0.0.0' });\n"
        ),
    },
    "site": {
        "index.html": "<!doctype html><title>site</title><h1>200 pages</h1>\n",
        **{
            f"pages/{number:03}.html": f"<!doctype html><title>{number}</title>\n" + f"<p>Page {number}.</p>\n" * 40
            for number in range(PAGES)
        },
    },
}


def make(folder: Path) -> Path:
    """Make the repos and the stack file below ``folder``, or leave what is there; returns the stack file."""
    stack = folder / "stack.toml"
    for repo in REPOS:
        _make_repo(folder / "repos" / repo, repo)
    if not stack.exists():
        stack.write_text(_stack())
    return stack


def change(folder: Path) -> None:
    """A commit to `web` that changes code and no dependency, as most commits do."""
    file = folder / "repos/web/app.py"
    file.write_text(file.read_text() + f"# change {_git(file.parent, 'rev-list', '--count', 'HEAD')}\n")
    _commit(file.parent, "a change")


def _make_repo(folder: Path, repo: str) -> None:
    if (folder / ".git").is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    if (CONTENT / repo).is_dir():
        shutil.copytree(CONTENT / repo, folder, dirs_exist_ok=True)
    for name, text in FILES[repo].items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    _git(folder, "init", "--quiet", "--initial-branch=main", "--template=")
    _commit(folder, "as it began")


def _commit(folder: Path, subject: str) -> None:
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--no-gpg-sign", f"--message={subject}")


def _git(folder: Path, *arguments: str) -> str:
    """Git without the settings of whoever runs the benchmark."""
    who = {
        f"GIT_{role}_{what}": "bench@bench.example" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    environment = {**os.environ, **who, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.strip()


def _stack() -> str:
    lines = ['[stack]\nname = "six"\n']
    lines += [f'[repos.{repo}]\nurl = "repos/{repo}"\nref = "main"\n' for repo in REPOS]
    lines += [f'[services.{repo}]\nhealth = {{ path = "/", settle = "500ms" }}\n' for repo in REPOS]
    return "\n".join(lines)
