//! What a process costs: CPU time of all its threads and its peak memory, as the kernel counts them.

use std::fs;

/// CPU time in nanoseconds of these processes' threads so far.
pub fn cpu_ns(pids: &[u32]) -> u64 {
    pids.iter().map(|pid| process_cpu_ns(*pid)).sum()
}

fn process_cpu_ns(pid: u32) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let schedstats = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("schedstat")).ok());
    schedstats.filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok()).sum()
}

/// Resident memory of these processes in KiB.
pub fn resident_kib(pids: &[u32]) -> u64 {
    pids.iter().filter_map(|pid| status_line(*pid, "VmRSS:")).sum()
}

/// The most that these processes ever had resident, in KiB.
pub fn peak_kib(pids: &[u32]) -> u64 {
    pids.iter().filter_map(|pid| status_line(*pid, "VmHWM:")).sum()
}

fn status_line(pid: u32, key: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key))?.trim().trim_end_matches(" kB").trim().parse().ok()
}

/// The processes started by this one, itself included (nginx has a master and a worker).
pub fn with_children(pid: u32) -> Vec<u32> {
    let mut pids = vec![pid];
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    pids.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
    pids
}
