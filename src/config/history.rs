//! What is kept of what happens to registrations: how much of it, and for how long.

/// History of registrations, and trends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Whether any is kept. Default true.
    pub enabled: bool,
    /// How long what happened is kept, seconds, 3600-315360000. Default 30 days.
    pub retention_s: u32,
    /// The most that the file of it takes, trends included, bytes, 16777216-4294967295: beyond it
    /// the oldest goes. Default 1 GiB.
    pub bytes_max: u32,
    /// The same where there is no data directory and all of it is in memory, 4194304-1073741824.
    /// Default 64 MiB.
    pub memory_bytes_max: u32,
    /// Memory of all shards for what has not been written yet, bytes, 65536-1073741824. Each shard
    /// takes two pages at least. Default 16 MiB.
    pub buffer_bytes: u32,
    /// Of the refreshes of one binding that change nothing one in this time is kept, seconds,
    /// 1-2592000; `None` keeps none of them. Default one day.
    pub refresh_every_s: Option<u32>,
    /// How long trends are kept in steps of ten seconds, seconds, 600-2592000. Default one day.
    pub trend_10s_s: u32,
    /// The same in steps of a minute, 3600-31536000. Default 30 days.
    pub trend_1m_s: u32,
    /// The same in steps of an hour, 86400-315360000. Default 365 days.
    pub trend_1h_s: u32,
}

const DAY_S: u32 = 86_400;

impl Default for History {
    fn default() -> Self {
        History {
            enabled: true,
            retention_s: 30 * DAY_S,
            bytes_max: 1 << 30,
            memory_bytes_max: 64 << 20,
            buffer_bytes: 16 << 20,
            refresh_every_s: Some(DAY_S),
            trend_10s_s: DAY_S,
            trend_1m_s: 30 * DAY_S,
            trend_1h_s: 365 * DAY_S,
        }
    }
}
