# The process side of Python peers: reads one plan from stdin, runs it, writes the outcome to stdout and exits. Other output
# of libraries goes to stderr.
import json
import os
import sys
import threading
import time


def run_peer(run):
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    plan = json.loads(sys.stdin.readline())
    # Stdin closes when the parent dies; a benchmark must leave no process behind.
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
    outcome = run(plan)
    json.dump({**outcome, "peakBytes": read_peak_bytes()}, output)
    output.flush()
    os._exit(0)


def read_peak_bytes():
    """The process's peak resident memory."""
    with open("/proc/self/status") as status:
        kibibytes = next(line for line in status if line.startswith("VmHWM"))
    return int(kibibytes.split()[1]) * 1024


def process_start():
    """Start of this process, in seconds since the epoch."""
    with open("/proc/self/stat") as stat, open("/proc/uptime") as uptime:
        ticks = int(stat.read().rsplit(")", 1)[1].split()[19])
        age = float(uptime.read().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - age


def measure_other_cores():
    """Starts measuring; the returned function returns the number of cores that other processes used meanwhile."""
    begin = read_times()

    def end():
        busy, every, own = (now - before for now, before in zip(read_times(), begin))
        seconds = every / os.cpu_count()
        return max(0.0, (busy - own) / seconds) if seconds > 0.3 else 0.0

    return end


def read_times():
    with open("/proc/stat") as stat:
        user, nice, system, idle, iowait, irq, softirq = map(int, stat.readline().split()[1:8])
    busy = (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
    return busy, busy + (idle + iowait) / os.sysconf("SC_CLK_TCK"), time.process_time()


def check_tokens(examples, pairs):
    """The tokenized texts must equal the token ids that Attune receives."""
    for example, pair in zip(examples, pairs, strict=True):
        for name in ("prompt", "chosen", "rejected"):
            if example[f"{name}_ids"] != pair[name]:
                raise ValueError(f"{name} was tokenized to {example[f'{name}_ids']}, expected {pair[name]}")
