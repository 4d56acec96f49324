"""A command that writes a folder, killed at random moments: the folder is not there or whole, and the next run goes on and
makes the same bytes. Standard library only."""
import filecmp
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time


def same_files(case, left, right):
    names = sorted(os.listdir(left))
    case.assertEqual(names, sorted(os.listdir(right)))
    case.assertEqual(filecmp.cmpfiles(left, right, names, shallow=False)[0], names)


def kill_at_random_moments(case, command, folder, kills, seed, resumed):
    """command(destination): the command line. resumed: what stderr says where a run goes on. Each result is handed to
    case.verify()."""
    whole, out = folder / "whole", folder / "out"

    def finish(destination):
        done = subprocess.run(command(destination), capture_output=True, text=True, timeout=120, check=False)
        case.assertEqual(done.returncode, 0, done.stderr)
        return done.stderr

    started = time.monotonic()
    finish(whole)
    duration = time.monotonic() - started
    draw = random.Random(seed)
    num_killed = num_resumed = 0
    for attempt in range(10 * kills):
        if num_killed == kills:
            break
        with case.subTest(attempt=attempt, seed=seed):
            process = subprocess.Popen(command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(draw.uniform(0, duration))
            process.send_signal(signal.SIGKILL)
            if process.wait() == -signal.SIGKILL:
                num_killed += 1
            else:
                duration *= 0.9  # it was done already: this machine is faster than the first run
            if not out.exists():
                num_resumed += resumed in finish(out)
            case.verify(out)
            case.assertFalse(pathlib.Path(f"{out}.partial").exists())
            same_files(case, out, whole)
            shutil.rmtree(out)
    case.assertEqual(num_killed, kills)
    case.assertGreater(num_resumed, 0)
