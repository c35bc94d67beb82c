# SPDX-License-Identifier: GPL-2.0
"""Pictures, by gnuplot."""
import shutil
import subprocess


class PictureError(Exception):
    """One sentence for the person who called us."""


def draw(script, path):
    """Run a script that writes PATH."""
    if not shutil.which("gnuplot"):
        raise PictureError("gnuplot is not installed; it is in the package gnuplot-nox.")
    done = subprocess.run(["gnuplot"], input=script, text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode or done.stdout.strip():
        raise PictureError(f"gnuplot could not draw {path}: {done.stdout.strip()[-200:]}.")
