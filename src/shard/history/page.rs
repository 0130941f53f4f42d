//! What happened to registrations, row behind row in one piece of memory: how a row is written, and
//! how it is read back. Which rows there are is [`record`](super)'s and
//! `refusals`'.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::flow::Transport;
use crate::limits::{
    AOR_BYTES_MAX, HISTORY_CONTACT_BYTES_MAX, HISTORY_PAGE_BYTES, USER_AGENT_BYTES_MAX,
};
use crate::time::{Now, UnixTime};

macro_rules! kinds {
    ($($(#[$about:meta])* $kind:ident = $word:literal),+ $(,)?) => {
        /// What happened to a registration.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum HistoryKind { $($(#[$about])* $kind),+ }

        impl HistoryKind {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [HistoryKind] = &[$(HistoryKind::$kind),+];

            /// Its word in lists and filters.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(HistoryKind::$kind => $word),+ }
            }
        }
    };
}

// What is kept has these numbers: new kinds go behind the others.
kinds! {
    /// A new binding.
    Registered = "registered",
    /// It was refreshed; a thin selection of these.
    Refreshed = "refreshed",
    /// It was refreshed from another address, over another transport, or under another contact.
    Moved = "moved",
    /// Its owner took it away.
    Unregistered = "unregistered",
    /// Nobody refreshed it in time.
    Expired = "expired",
    /// Another device took its place.
    Replaced = "replaced",
    /// An operator took it out.
    Kicked = "kicked",
    /// It went otherwise: its account, its connection, or the phone itself has gone.
    Removed = "removed",
    /// Two devices keep taking each other's place.
    Flapping = "flapping",
    /// A registration was refused.
    Refused = "refused",
    /// An account was suspended for a source.
    Suspended = "suspended",
    /// Such a suspension ended.
    Unsuspended = "unsuspended",
}

impl HistoryKind {
    /// The kind of that word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<HistoryKind> {
        HistoryKind::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// The kind of that number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<HistoryKind> {
        HistoryKind::ALL.get(usize::from(number)).copied()
    }
}

/// One thing that happened. Texts are as they were sent, each cut to its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryRow<'a> {
    /// When.
    pub at: UnixTime,
    /// Milliseconds within that second.
    pub at_ms: u16,
    /// What.
    pub kind: HistoryKind,
    /// To whose registration: canonical, `user@domain`; empty where it was nobody's.
    pub aor: &'a [u8],
    /// The contact; empty where there was none. At most [`HISTORY_CONTACT_BYTES_MAX`] bytes.
    pub contact: &'a [u8],
    /// Where the request came from, or the last one; port 0 where it is about every port.
    pub source: SocketAddr,
    /// What carried it; `None` where that is not known.
    pub transport: Option<Transport>,
    /// The User-Agent; empty where there was none.
    pub user_agent: &'a [u8],
    /// Seconds that were granted.
    pub granted_s: u32,
    /// A word that says more than the kind; empty where there is nothing to say.
    pub reason: &'a str,
    /// How often it happened: 1, except where several are one row.
    pub count: u32,
}

impl<'a> HistoryRow<'a> {
    /// Something that happens now, of which nothing else is known.
    #[must_use]
    pub fn new(now: Now, kind: HistoryKind, source: SocketAddr) -> HistoryRow<'a> {
        HistoryRow {
            at: now.wall,
            at_ms: (now.wall_us / 1000) as u16,
            kind,
            aor: b"",
            contact: b"",
            source,
            transport: None,
            user_agent: b"",
            granted_s: 0,
            reason: "",
            count: 1,
        }
    }
}

/// Transport that is not known.
const NO_TRANSPORT: u8 = u8::MAX;
/// Longest word of a reason, bytes.
const REASON_BYTES_MAX: usize = 32;
/// What a row has beside its texts: time, kind, transport, granted, count, address, port, and the
/// lengths of its texts.
const HEAD_BYTES: usize = 8 + 2 + 1 + 1 + 4 + 4 + 16 + 2 + 4;
/// The longest row.
const ROW_BYTES_MAX: usize = HEAD_BYTES
    + AOR_BYTES_MAX
    + HISTORY_CONTACT_BYTES_MAX
    + USER_AGENT_BYTES_MAX
    + REASON_BYTES_MAX;

const _: () = assert!(ROW_BYTES_MAX * 8 <= HISTORY_PAGE_BYTES, "a page has room for rows");
const _: () = assert!(HISTORY_CONTACT_BYTES_MAX <= u8::MAX as usize);
const _: () = assert!(USER_AGENT_BYTES_MAX <= u8::MAX as usize);

/// Rows in the order they were written, of no more than [`HISTORY_PAGE_BYTES`] bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryPage {
    bytes: Vec<u8>,
    rows: u32,
}

fn cut(text: &[u8], most: usize) -> &[u8] {
    &text[..text.len().min(most)]
}

impl HistoryPage {
    /// An empty one with all the memory it will ever take.
    #[must_use]
    pub fn with_room() -> HistoryPage {
        HistoryPage { bytes: Vec::with_capacity(HISTORY_PAGE_BYTES), rows: 0 }
    }

    /// How many rows it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows as usize
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Whether another row of whatever length fits.
    #[inline]
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.bytes.len() + ROW_BYTES_MAX <= HISTORY_PAGE_BYTES
    }

    /// Whether it has the memory of a whole page, or whoever gave it made it up.
    pub(super) fn is_whole(&self) -> bool {
        self.bytes.capacity() >= HISTORY_PAGE_BYTES
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.rows = 0;
    }

    /// Writes a row behind the others, if there is room for it.
    pub fn push(&mut self, row: &HistoryRow<'_>) -> bool {
        let has_room = self.has_room();
        if has_room {
            self.write(row);
        }
        has_room
    }

    /// The same where there is room.
    #[inline]
    pub(super) fn write(&mut self, row: &HistoryRow<'_>) {
        debug_assert!(self.has_room());
        let ip = match row.source.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let texts = [
            cut(row.aor, AOR_BYTES_MAX),
            cut(row.contact, HISTORY_CONTACT_BYTES_MAX),
            cut(row.user_agent, USER_AGENT_BYTES_MAX),
            cut(row.reason.as_bytes(), REASON_BYTES_MAX),
        ];
        let mut head = [0_u8; HEAD_BYTES];
        head[..8].copy_from_slice(&row.at.0.to_le_bytes());
        head[8..10].copy_from_slice(&row.at_ms.to_le_bytes());
        head[10] = row.kind as u8;
        head[11] = row.transport.map_or(NO_TRANSPORT, |transport| transport as u8);
        head[12..16].copy_from_slice(&row.granted_s.to_le_bytes());
        head[16..20].copy_from_slice(&row.count.to_le_bytes());
        head[20..36].copy_from_slice(&ip.octets());
        head[36..38].copy_from_slice(&row.source.port().to_le_bytes());
        for (len, text) in head[38..].iter_mut().zip(&texts) {
            *len = text.len() as u8;
        }
        self.bytes.extend_from_slice(&head);
        for text in texts {
            self.bytes.extend_from_slice(text);
        }
        self.rows += 1;
    }

    /// The rows, in order.
    #[must_use]
    pub fn iter(&self) -> Rows<'_> {
        Rows(&self.bytes)
    }
}

impl<'a> IntoIterator for &'a HistoryPage {
    type Item = HistoryRow<'a>;
    type IntoIter = Rows<'a>;

    fn into_iter(self) -> Rows<'a> {
        self.iter()
    }
}

/// The rows of a page.
#[derive(Clone, Debug)]
pub struct Rows<'a>(&'a [u8]);

impl<'a> Iterator for Rows<'a> {
    type Item = HistoryRow<'a>;

    fn next(&mut self) -> Option<HistoryRow<'a>> {
        let (head, mut rest) = self.0.split_first_chunk::<HEAD_BYTES>()?;
        let word = |from: usize| -> [u8; 4] { std::array::from_fn(|at| head[from + at]) };
        let mut texts = [&b""[..]; 4];
        for (text, len) in texts.iter_mut().zip(&head[38..]) {
            (*text, rest) = rest.split_at_checked(usize::from(*len))?;
        }
        let [aor, contact, user_agent, reason] = texts;
        self.0 = rest;
        let ip: [u8; 16] = std::array::from_fn(|at| head[20 + at]);
        let ip = IpAddr::V6(Ipv6Addr::from(ip)).to_canonical();
        Some(HistoryRow {
            at: UnixTime(u64::from_le_bytes(std::array::from_fn(|at| head[at]))),
            at_ms: u16::from_le_bytes([head[8], head[9]]),
            kind: HistoryKind::from_number(head[10])?,
            aor,
            contact,
            source: SocketAddr::new(ip, u16::from_le_bytes([head[36], head[37]])),
            transport: Transport::ALL.get(usize::from(head[11])).copied(),
            user_agent,
            granted_s: u32::from_le_bytes(word(12)),
            reason: std::str::from_utf8(reason).unwrap_or_default(),
            count: u32::from_le_bytes(word(16)),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_kind_has_a_word_and_a_number_of_its_own() {
        for (number, kind) in (0..).zip(HistoryKind::ALL) {
            assert_eq!(HistoryKind::from_number(number), Some(*kind));
            assert_eq!(HistoryKind::from_name(kind.name()), Some(*kind));
        }
        assert_eq!(HistoryKind::from_number(HistoryKind::ALL.len() as u8), None);
        assert_eq!(HistoryKind::from_name("challenged"), None);
        for (number, transport) in Transport::ALL.into_iter().enumerate() {
            assert_eq!(transport as usize, number);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn rows_are_read_as_they_were_written_and_texts_are_cut(
            texts in proptest::collection::vec(
                (
                    proptest::collection::vec(any::<u8>(), 0..300),
                    proptest::collection::vec(any::<u8>(), 0..700),
                    any::<u32>(),
                    0..HistoryKind::ALL.len(),
                    any::<(u16, u32, bool)>(),
                ),
                1..30,
            ),
        ) {
            let mut page = HistoryPage::with_room();
            let memory = page.bytes.as_ptr();
            let mut expected = Vec::new();
            for (aor, contact, number, kind, (port, ip, is_v4)) in &texts {
                let ip = match is_v4 {
                    true => IpAddr::V4((*ip).into()),
                    false => IpAddr::V6(u128::from(*ip).wrapping_shl(90).into()),
                };
                let row = HistoryRow {
                    at: UnixTime(u64::from(*number)),
                    at_ms: port % 1000,
                    kind: HistoryKind::ALL[*kind],
                    aor,
                    contact,
                    source: SocketAddr::new(ip, *port),
                    transport: (*port % 2 == 0).then_some(Transport::Wss),
                    user_agent: contact,
                    granted_s: *number,
                    reason: "bad_password",
                    count: number.wrapping_mul(7),
                };
                if !page.has_room() {
                    break;
                }
                page.write(&row);
                expected.push(HistoryRow {
                    aor: cut(aor, AOR_BYTES_MAX),
                    contact: cut(contact, HISTORY_CONTACT_BYTES_MAX),
                    user_agent: cut(contact, USER_AGENT_BYTES_MAX),
                    ..row
                });
            }
            prop_assert_eq!(page.iter().collect::<Vec<_>>(), expected);
            prop_assert_eq!(page.bytes.as_ptr(), memory, "no page grows");
        }
    }
}
