//! The machine: its processor, and which of its cores gateway, load and services have.

use std::fs;

use serde_json::{Value, json};

/// Who runs where, as lists for `taskset`.
#[derive(Clone, Debug)]
pub struct Cores {
    /// The gateway's one core.
    pub gateway: String,
    /// Two cores for a gateway that may have two; on a machine with two the load is on one of them.
    pub gateway_two: String,
    pub load: String,
    pub services: String,
}

impl Cores {
    /// Shares out the cores that this process may use.
    ///
    /// # Errors
    /// There is only one.
    pub fn share_out() -> Result<Cores, String> {
        let cores = allowed();
        let [first, second, ..] = cores.as_slice() else {
            return Err("one core is not enough: the load would be measured with the gateway".to_owned());
        };
        let last = cores[cores.len() - 1];
        let services = if cores.len() > 3 { cores[cores.len() - 2] } else { last };
        Ok(Cores {
            gateway: first.to_string(),
            gateway_two: format!("{first},{second}"),
            load: last.to_string(),
            services: services.to_string(),
        })
    }
}

/// The cores that this process may use: `0-3,8` in the kernel's words.
fn allowed() -> Vec<u32> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .unwrap_or("")
        .trim()
        .to_owned();
    let range = |text: &str| -> Option<std::ops::RangeInclusive<u32>> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

/// What the results were measured on.
pub fn describe() -> Value {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory_kib = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().split(' ').next()?.parse::<u64>().ok());
    json!({ "cpu": model, "cores": allowed().len(), "kernel": kernel.trim(), "memory_mb": memory_kib.map(|kib| kib / 1024) })
}

/// How busy the machine is already: processes that ran or wanted to, on average over the last minute.
pub fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0)
}

/// Files that a process may have open.
pub fn open_files_max() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    limits
        .lines()
        .find(|line| line.starts_with("Max open files"))?
        .split_whitespace()
        .nth(3)?
        .parse()
        .ok()
}
