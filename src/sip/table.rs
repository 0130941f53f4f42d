//! The header table: where each header field of a message stands, and the next of its name. Made
//! once, filled again for each message; nothing in it is cleared but one byte a known name.

use crate::limits::{HEADER_NAME_BYTES_MAX, HEADERS_MAX, MESSAGE_BYTES_MAX};
use crate::sip::header::HeaderName;
use crate::sip::header::name::KNOWN_COUNT;

/// No entry.
const NONE: u8 = u8::MAX;

/// One header field: offsets into the message.
#[derive(Clone, Copy, Debug)]
struct Entry {
    name_at: u16,
    value_at: u16,
    value_len: u16,
    name_len: u8,
    name: HeaderName,
    /// The next field of the same known name.
    next: u8,
}

const _: () = assert!(size_of::<Entry>() <= 12);
const _: () = assert!(HEADERS_MAX < NONE as usize);
const _: () = assert!(HEADER_NAME_BYTES_MAX <= u8::MAX as usize);
const _: () = assert!(MESSAGE_BYTES_MAX <= u16::MAX as usize);

/// A set of known names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NameSet(u32);

const _: () = assert!(KNOWN_COUNT <= 32);

impl NameSet {
    /// These names.
    pub const fn of(names: &[HeaderName]) -> NameSet {
        let (mut set, mut i) = (0, 0);
        while i < names.len() {
            set |= 1 << names[i] as u32;
            i += 1;
        }
        NameSet(set)
    }

    /// Whether no name is in both.
    #[inline]
    pub const fn is_disjoint(self, other: NameSet) -> bool {
        self.0 & other.0 == 0
    }

    /// Whether `name` is in it.
    #[inline]
    pub const fn has(self, name: HeaderName) -> bool {
        (name as u32) < 32 && self.0 >> name as u32 & 1 != 0
    }
}

/// Room for the header fields of one message, reused for the next.
#[derive(Clone, Debug)]
pub struct HeaderTable {
    entries: [Entry; HEADERS_MAX],
    len: u8,
    first: [u8; KNOWN_COUNT],
    last: [u8; KNOWN_COUNT],
    repeated: NameSet,
}

impl Default for HeaderTable {
    fn default() -> Self {
        HeaderTable::new()
    }
}

/// Where a header field stands in its message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub name: HeaderName,
    pub name_at: usize,
    pub name_len: usize,
    pub value_at: usize,
    pub value_len: usize,
}

impl HeaderTable {
    /// An empty table.
    #[must_use]
    pub const fn new() -> Self {
        let nothing = Entry {
            name_at: 0,
            value_at: 0,
            value_len: 0,
            name_len: 0,
            name: HeaderName::Other,
            next: NONE,
        };
        HeaderTable {
            entries: [nothing; HEADERS_MAX],
            len: 0,
            first: [NONE; KNOWN_COUNT],
            last: [NONE; KNOWN_COUNT],
            repeated: NameSet(0),
        }
    }

    /// Forgets the message before.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.first = [NONE; KNOWN_COUNT];
        self.repeated = NameSet(0);
    }

    /// Appends a field; false if the table is full. The offsets are those of a message of at
    /// most [`MESSAGE_BYTES_MAX`] bytes and a name of at most [`HEADER_NAME_BYTES_MAX`].
    #[inline]
    #[allow(clippy::cast_possible_truncation)]
    pub(super) fn push(&mut self, field: Field) -> bool {
        debug_assert!(field.value_at + field.value_len <= MESSAGE_BYTES_MAX);
        debug_assert!(field.name_len <= HEADER_NAME_BYTES_MAX);
        let at = self.len;
        let Some(entry) = self.entries.get_mut(usize::from(at)) else { return false };
        *entry = Entry {
            name_at: field.name_at as u16,
            value_at: field.value_at as u16,
            value_len: field.value_len as u16,
            name_len: field.name_len as u8,
            name: field.name,
            next: NONE,
        };
        self.len = at + 1;
        if let Some(first) = self.first.get_mut(field.name as usize) {
            let last = &mut self.last[field.name as usize];
            if *first == NONE {
                *first = at;
            } else {
                self.entries[usize::from(*last)].next = at;
                self.repeated.0 |= 1 << field.name as u32;
            }
            *last = at;
        }
        true
    }

    /// Fields held.
    #[inline]
    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// The n-th field.
    #[inline]
    pub(super) fn field(&self, at: usize) -> Option<Field> {
        if at >= self.len() {
            return None;
        }
        let e = self.entries.get(at)?;
        Some(Field {
            name: e.name,
            name_at: usize::from(e.name_at),
            name_len: usize::from(e.name_len),
            value_at: usize::from(e.value_at),
            value_len: usize::from(e.value_len),
        })
    }

    /// Index of the first field of a known name.
    #[inline]
    pub(super) fn first(&self, name: HeaderName) -> Option<usize> {
        self.first.get(name as usize).filter(|&&at| at != NONE).map(|&at| usize::from(at))
    }

    /// Known names of which there is more than one field.
    #[inline]
    pub(super) fn repeated(&self) -> NameSet {
        self.repeated
    }

    /// Index of the next field of the same known name as the n-th.
    #[inline]
    pub(super) fn next(&self, at: usize) -> Option<usize> {
        self.entries.get(at).filter(|e| e.next != NONE).map(|e| usize::from(e.next))
    }
}
