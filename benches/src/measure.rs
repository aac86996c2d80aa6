//! What a process costs: CPU time of all its threads and its memory, as the kernel counts them.

use std::fs;

/// CPU time in nanoseconds of these processes' threads so far, from the scheduler's own count (`schedstat`). Threads that have ended
/// are missing in it; `cpu_ticks_ns` has them.
pub fn cpu_ns(pids: &[u32]) -> u64 {
    pids.iter().map(|pid| threads_cpu_ns(*pid)).sum()
}

fn threads_cpu_ns(pid: u32) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return 0;
    };
    let schedstats = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("schedstat")).ok());
    schedstats
        .filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        .sum()
}

/// The same from the coarser count by process (`utime` and `stime`, in ticks of 10 ms), ended threads included: a cross-check.
pub fn cpu_ticks_ns(pids: &[u32]) -> u64 {
    pids.iter().filter_map(|pid| process_ticks(*pid)).sum::<u64>() * 10_000_000
}

fn process_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold blanks; utime and stime are the 12th and 13th field after it.
    let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// CPU time in seconds of all processes that this one has started and that have ended, with what they had started in turn.
pub fn children_cpu_s() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name in parentheses, cutime and cstime are the 14th and 15th field, in ticks of 10 ms.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(13).take(2);
    fields.filter_map(|field| field.parse::<u64>().ok()).sum::<u64>() as f64 / 100.0
}

/// Resident memory of these processes in KiB.
pub fn resident_kib(pids: &[u32]) -> u64 {
    pids.iter().filter_map(|pid| status_kib(*pid, "VmRSS:")).sum()
}

/// The most that each of these processes ever had resident, in KiB.
pub fn peak_kib(pids: &[u32]) -> u64 {
    pids.iter().filter_map(|pid| status_kib(*pid, "VmHWM:")).sum()
}

fn status_kib(pid: u32, key: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix(key))?
        .trim()
        .trim_end_matches(" kB")
        .trim()
        .parse()
        .ok()
}

/// A process and all that it started, however deep (nginx has a master and a worker).
pub fn with_children(pid: u32) -> Vec<u32> {
    let mut pids = vec![pid];
    let mut at = 0;
    while let Some(pid) = pids.get(at).copied() {
        at += 1;
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
            continue;
        };
        for thread in threads.flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            pids.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    pids
}
