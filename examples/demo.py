"""The main job, from repos to answers: bake the shop, boot its image by tags, order something from it.

    make demo

Runs the same commands as a person would, and shows each with what it prints. The first run makes base
and packages too (a few minutes); images and layers stay in $BAKEBOOT_HOME for the next.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHOP = ROOT / "build/demo/shop"
BAKEBOOT = Path(sys.executable).with_name("bakeboot")

ORDER = f'{shlex.quote(sys.executable)} examples/shop/order.py "$STOREFRONT_URL"'
ORDER_IN_REVIEW = ORDER.replace("STOREFRONT_URL", "REVIEW_STOREFRONT_URL")


def main() -> int:
    """Each step in turn; the exit code of the first that fails, else 0."""
    bakeboot = str(BAKEBOOT)
    latest = [bakeboot, "boot", "latest", "--stack-name", "shop"]
    steps = [
        ("Four git repositories and a stack file", [sys.executable, "examples/shop/publish.py", str(SHOP)]),
        (
            "Bake one image of all of them, with Packer, and verify it",
            [bakeboot, "bake", "--stack", f"{SHOP}/stack.toml"],
        ),
        (
            "Tagged review it runs everything: order something",
            [*latest, "--mode", "review", "--", "sh", "-c", ORDER],
        ),
        (
            "Tagged production and storefront it runs that alone (datastores and API are a review machine's)",
            [*latest, "--mode", "production", "--service", "storefront", "--with-review", "--", "sh", "-c", ORDER],
        ),
        (
            "Tagged production and orders-worker it does the work that the review machine queues",
            [
                *latest,
                "--mode",
                "production",
                "--service",
                "orders-worker",
                "--with-review",
                "--",
                "sh",
                "-c",
                ORDER_IN_REVIEW,
            ],
        ),
    ]
    for title, command in steps:
        shown = shlex.join(command).replace(f"{ROOT}/", "")
        print(f"\n## {title}\n$ {shown}", flush=True)
        code = subprocess.run(command, cwd=ROOT, env=dict(os.environ), check=False).returncode
        if code:
            print(f"\nstopped: that ended with exit code {code}", file=sys.stderr)
            return code
    print("\nOne image, three machines, each became what its tags say.")
    print("  try   .venv/bin/bakeboot images show latest")
    return 0


if __name__ == "__main__":
    sys.exit(main())
