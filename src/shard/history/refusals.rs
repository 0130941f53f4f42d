//! Refused registrations as rows. The first few of one source, account and reason are rows of their
//! own; those that follow are counted, and become one row with a number when their window is over.
//! How many rows there can be in a while has a limit whatever comes: an attack is some lines and
//! counts, and what is kept of honest phones is not pushed out by it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

use crate::flow::Transport;
use crate::guard::events::Text;
use crate::limits::{
    HISTORY_REFUSALS_TRACKED, HISTORY_REFUSED_ROWS_BURST, HISTORY_REFUSED_ROWS_PER_S,
    SECURITY_ACCOUNT_BYTES_MAX, SECURITY_AGENT_BYTES_MAX,
};
use crate::shard::history::page::{HistoryKind, HistoryRow};
use crate::time::Now;

/// Rows of their own that one source, account and reason get.
const FIRST_ROWS: u8 = 3;
/// What follows them is a row when it is so many, then when it is ten times as many, and so on.
const FIRST_DUE: u32 = 10;
/// What is left becomes a row after this time, seconds; what was silent for so long begins anew.
const WINDOW_S: u64 = 600;
/// Places that are looked at in one [`Refusals::sweep`].
const SWEPT_AT_A_TIME: usize = 64;

const _: () = assert!(HISTORY_REFUSALS_TRACKED.is_power_of_two());

/// A registration that was refused.
#[derive(Clone, Copy, Debug)]
pub(in crate::shard) struct Refused<'a> {
    pub source: SocketAddr,
    pub transport: Transport,
    /// As the request named it; empty where it named none.
    pub aor: &'a [u8],
    pub user_agent: &'a [u8],
    pub reason: &'static str,
}

/// What is told apart.
struct Tracked {
    key: u64,
    /// When the window at hand began, seconds of the monotonic clock.
    began_s: u64,
    /// Rows of their own that it has had.
    rows: u8,
    /// Refusals that have no row yet, and how many get one.
    more: u32,
    due: u32,
    /// Something came within the window.
    is_live: bool,
    last: Now,
    source: IpAddr,
    transport: Transport,
    aor: Text<SECURITY_ACCOUNT_BYTES_MAX>,
    user_agent: Text<SECURITY_AGENT_BYTES_MAX>,
    reason: &'static str,
}

impl Tracked {
    fn is_over(&self, now: Now) -> bool {
        now.mono.as_secs().saturating_sub(self.began_s) >= WINDOW_S
    }

    /// One row for all that have none.
    fn row(&self) -> HistoryRow<'_> {
        HistoryRow {
            aor: self.aor.as_str().as_bytes(),
            user_agent: self.user_agent.as_str().as_bytes(),
            transport: Some(self.transport),
            reason: self.reason,
            count: self.more,
            ..HistoryRow::new(self.last, HistoryKind::Refused, SocketAddr::new(self.source, 0))
        }
    }
}

/// How many rows there may be: so many a second, and a number at once.
struct Allowance {
    left: u32,
    reckoned_s: u64,
}

impl Allowance {
    /// Whether there may be another row; it is then spent.
    fn spend(&mut self, now: Now) -> bool {
        let now_s = now.mono.as_secs();
        let passed_s = now_s.saturating_sub(self.reckoned_s);
        if passed_s > 0 {
            let more = u64::from(HISTORY_REFUSED_ROWS_PER_S).saturating_mul(passed_s);
            let more = u32::try_from(more).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(more).min(HISTORY_REFUSED_ROWS_BURST);
            self.reckoned_s = now_s;
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

/// The refusals of one shard, in fixed memory.
pub(super) struct Refusals {
    places: Box<[Option<Tracked>]>,
    /// Where the next sweep begins.
    swept: usize,
    allowance: Allowance,
    /// Refusals that are in no row.
    unlisted: u64,
}

impl Refusals {
    pub fn new() -> Refusals {
        let places = std::iter::repeat_with(|| None).take(HISTORY_REFUSALS_TRACKED);
        let allowance = Allowance { left: HISTORY_REFUSED_ROWS_BURST, reckoned_s: 0 };
        Refusals { places: places.collect(), swept: 0, allowance, unlisted: 0 }
    }

    /// Refusals that are in no row, and never will be.
    pub fn unlisted(&self) -> u64 {
        self.unlisted
    }

    /// Whether there may be a row about something else that whoever attacks can bring about; it is
    /// then spent.
    pub fn spend(&mut self, now: Now) -> bool {
        self.allowance.spend(now)
    }

    /// A registration was refused. `write` takes the rows that come of it: one, or two where
    /// another source, account or reason has to make room.
    pub fn take(
        &mut self,
        now: Now,
        refused: &Refused<'_>,
        write: &mut impl FnMut(&HistoryRow<'_>),
    ) {
        let source = refused.source.ip().to_canonical();
        let aor = Text::new(refused.aor);
        let key = key_of(source, &aor, refused.reason);
        let at = key as usize & (HISTORY_REFUSALS_TRACKED - 1);
        if self.places[at]
            .as_ref()
            .is_some_and(|tracked| tracked.key == key && tracked.is_over(now))
        {
            self.end_window(now, at, write);
        }
        let Refusals { places, allowance, unlisted, .. } = self;
        match &mut places[at] {
            Some(tracked) if tracked.key == key => {
                (tracked.last, tracked.is_live) = (now, true);
                if tracked.rows < FIRST_ROWS && allowance.spend(now) {
                    tracked.rows += 1;
                    return write(&row_of(now, refused));
                }
                tracked.more = tracked.more.saturating_add(1);
                if tracked.more >= tracked.due && allowance.spend(now) {
                    write(&tracked.row());
                    (tracked.more, tracked.due) = (0, tracked.due.saturating_mul(10));
                }
            }
            place => {
                if !allowance.spend(now) {
                    *unlisted += 1;
                    return;
                }
                if let Some(other) = place.take_if(|other| other.more > 0) {
                    match allowance.spend(now) {
                        true => write(&other.row()),
                        false => *unlisted += u64::from(other.more),
                    }
                }
                *place = Some(Tracked {
                    key,
                    began_s: now.mono.as_secs(),
                    rows: 1,
                    more: 0,
                    due: FIRST_DUE,
                    is_live: true,
                    last: now,
                    source,
                    transport: refused.transport,
                    aor,
                    user_agent: Text::new(refused.user_agent),
                    reason: refused.reason,
                });
                write(&row_of(now, refused));
            }
        }
    }

    /// Looks at some places, and ends the windows that are over. To be called every while.
    pub fn sweep(&mut self, now: Now, write: &mut impl FnMut(&HistoryRow<'_>)) {
        for _ in 0..SWEPT_AT_A_TIME {
            let at = self.swept;
            self.swept = (at + 1) % HISTORY_REFUSALS_TRACKED;
            if self.places[at].as_ref().is_some_and(|tracked| tracked.is_over(now)) {
                self.end_window(now, at, write);
            }
        }
    }

    /// A window is over: what has no row gets one and another window begins. Where nothing came,
    /// the place is free.
    fn end_window(&mut self, now: Now, at: usize, write: &mut impl FnMut(&HistoryRow<'_>)) {
        let Refusals { places, allowance, unlisted, .. } = self;
        let Some(tracked) = &mut places[at] else { return };
        if tracked.more > 0 {
            match allowance.spend(now) {
                true => write(&tracked.row()),
                false => *unlisted += u64::from(tracked.more),
            }
        }
        if !tracked.is_live {
            places[at] = None;
            return;
        }
        (tracked.more, tracked.is_live, tracked.began_s) = (0, false, now.mono.as_secs());
    }
}

fn row_of<'a>(now: Now, refused: &Refused<'a>) -> HistoryRow<'a> {
    HistoryRow {
        aor: refused.aor,
        user_agent: refused.user_agent,
        transport: Some(refused.transport),
        reason: refused.reason,
        ..HistoryRow::new(now, HistoryKind::Refused, refused.source)
    }
}

/// What collides shares a place: each then has rows of its own, within the same limit.
fn key_of(source: IpAddr, aor: &Text<SECURITY_ACCOUNT_BYTES_MAX>, reason: &'static str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (source, aor, reason).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::time::{Instant, UnixTime};

    const NOW: Now =
        Now { mono: Instant::from_secs(5000), wall: UnixTime(1_800_000_000), wall_us: 0 };

    fn refused(source: [u8; 4], aor: &str) -> Refused<'_> {
        Refused {
            source: SocketAddr::from((source, 5060)),
            transport: Transport::Udp,
            aor: aor.as_bytes(),
            user_agent: b"kit",
            reason: "bad_password",
        }
    }

    /// The counts of the rows that come of so many refusals, all at once.
    fn counts(refusals: &mut Refusals, now: Now, times: usize) -> Vec<u32> {
        let mut counts = Vec::new();
        for _ in 0..times {
            let one = refused([192, 0, 2, 7], "u1@example.com");
            refusals.take(now, &one, &mut |row| counts.push(row.count));
        }
        counts
    }

    fn swept(refusals: &mut Refusals, now: Now) -> Vec<u32> {
        let mut counts = Vec::new();
        for _ in 0..HISTORY_REFUSALS_TRACKED / SWEPT_AT_A_TIME {
            refusals.sweep(now, &mut |row| counts.push(row.count));
        }
        counts
    }

    #[test]
    fn the_first_few_are_rows_and_what_follows_is_counted_in_ever_fewer_of_them() {
        let mut refusals = Refusals::new();
        assert_eq!(counts(&mut refusals, NOW, 250), [1, 1, 1, 10, 100]);
        assert!(swept(&mut refusals, NOW.after(Duration::from_secs(WINDOW_S - 1))).is_empty());
        let over = NOW.after(Duration::from_secs(WINDOW_S));
        assert_eq!(swept(&mut refusals, over), [137], "none of them is lost");
        // What goes on has no rows of its own any more.
        assert!(counts(&mut refusals, over, 5).is_empty());
        let later = over.after(Duration::from_secs(WINDOW_S));
        assert_eq!(swept(&mut refusals, later), [5]);
        // What has been silent through a window begins anew.
        let quiet = later.after(Duration::from_secs(WINDOW_S));
        assert!(swept(&mut refusals, quiet).is_empty());
        assert_eq!(counts(&mut refusals, quiet, 4), [1, 1, 1]);
        assert_eq!(refusals.unlisted(), 0);
    }

    #[test]
    fn a_flood_from_everywhere_is_a_bounded_number_of_rows_and_all_of_it_is_accounted_for() {
        let mut refusals = Refusals::new();
        let (mut rows, mut told) = (0_u64, 0_u64);
        let flood = 200_000_u32;
        for nth in 0..flood {
            let aor = format!("u{nth}@example.com");
            let one = refused(nth.to_be_bytes(), &aor);
            refusals.take(NOW, &one, &mut |row| {
                rows += 1;
                told += u64::from(row.count);
            });
        }
        assert_eq!(rows, u64::from(HISTORY_REFUSED_ROWS_BURST));
        assert_eq!(told + refusals.unlisted(), u64::from(flood));
        // A second later there are a few more.
        let later = NOW.after(Duration::from_secs(1));
        let mut more = 0;
        for nth in 0..1000_u32 {
            let one = refused(nth.to_be_bytes(), "someone@example.com");
            refusals.take(later, &one, &mut |_| more += 1);
        }
        assert_eq!(more, HISTORY_REFUSED_ROWS_PER_S);
    }
}
