//! What the machine has of memory, and what this process has of it.

fn kib(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).expect("Linux");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// How often this thread met a page that was not there.
pub fn faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("Linux");
    let behind = stat.rsplit(')').next().expect("a name in brackets");
    behind.split_whitespace().nth(7).and_then(|count| count.parse().ok()).expect("a number")
}

/// Memory that could be had without anybody being pushed out.
pub fn available_bytes() -> u64 {
    kib("/proc/meminfo", "MemAvailable:") << 10
}

/// Bytes of memory of this process that are really there.
pub fn resident_bytes() -> u64 {
    kib("/proc/self/status", "VmRSS:") << 10
}
