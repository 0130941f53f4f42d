//! A batch of datagrams, read ahead: all of them are parsed first, then what those with credentials
//! will need is fetched for all at once, and only then is each answered, in order. The answers,
//! events and counters are those of one after the other; what a batch saves is waiting, since its
//! cache misses overlap.

use std::hint::black_box;

use arrayvec::ArrayVec;

use crate::auth::accounts::{AccountId, AorKey};
use crate::config::Algorithms;
use crate::flow::Transport;
use crate::limits::{AOR_BYTES_MAX, BATCH_MAX};
use crate::registrar::AorId;
use crate::registrar::aor::{Aor, AorError};
use crate::shard::core::Core;
use crate::shard::{Datagram, Handled};
use crate::sip::header::from_to::FromTo;
use crate::sip::{Framing, HeaderName, HeaderTable, Message, Method, Parsed, parse};

/// Where the answers of a batch go.
pub trait Outlet {
    /// Where the next answer is written: room for
    /// [`RESPONSE_BYTES_MAX`](crate::limits::RESPONSE_BYTES_MAX) bytes.
    fn room(&mut self) -> &mut [u8];

    /// What became of a datagram, each in its turn. The bytes of a [`Handled::Reply`] stand at the
    /// start of what `room` gave last.
    fn handled(&mut self, datagram: &Datagram<'_>, handled: Handled);
}

/// The batch of one.
pub(super) struct Single<'o> {
    pub out: &'o mut [u8],
    pub handled: Handled,
}

impl Outlet for Single<'_> {
    fn room(&mut self) -> &mut [u8] {
        self.out
    }

    fn handled(&mut self, _datagram: &Datagram<'_>, handled: Handled) {
        self.handled = handled;
    }
}

/// What reading one datagram takes of memory, made once and used again for each batch.
pub(super) struct Slot {
    table: HeaderTable,
    aor: [u8; AOR_BYTES_MAX],
}

impl Slot {
    /// The slots of the longest batch.
    pub fn batch() -> Box<[Slot]> {
        let slot = || Slot { table: HeaderTable::new(), aor: [0; AOR_BYTES_MAX] };
        std::iter::repeat_with(slot).take(BATCH_MAX).collect()
    }
}

/// A datagram taken apart.
pub(super) struct Read<'a> {
    pub parsed: Parsed<'a>,
    /// Whose bindings it is about, if it is a REGISTER.
    pub addressed: Result<Addressed<'a>, Unaddressed>,
}

/// Whose bindings a REGISTER is about.
#[derive(Clone, Copy)]
pub(super) struct Addressed<'a> {
    /// To.
    pub to: FromTo<'a>,
    /// The address-of-record that To names, of a domain that is served.
    pub aor: Aor<'a>,
    /// What the challenges of its domain offer.
    pub offered: Algorithms,
    /// Its hash, where the request has credentials: to others every shard answers the same.
    pub key: Option<AorKey>,
    /// Its account, if it is here and the request has credentials.
    pub account: Option<AccountId>,
}

/// Why a message is about nobody's bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unaddressed {
    /// It is no REGISTER with one To that can be read.
    To,
    /// To names no address-of-record.
    Aor(AorError),
    /// To names one of a domain that is not served.
    Domain,
}

/// Reads all `datagrams`, and fetches what the answers will need.
pub(super) fn read_ahead<'a>(
    core: &Core,
    datagrams: &[Datagram<'a>],
    slots: &'a mut [Slot],
) -> ArrayVec<Read<'a>, BATCH_MAX> {
    let mut reads = ArrayVec::new();
    let mut keys: ArrayVec<AorKey, BATCH_MAX> = ArrayVec::new();
    for (datagram, slot) in datagrams.iter().zip(slots) {
        let parsed = parse(datagram.bytes, framing(datagram), &mut slot.table);
        let addressed = match &parsed {
            Parsed::Complete { message, .. } => address(core, *message, &mut slot.aor),
            Parsed::Invalid { .. } | Parsed::Partial { .. } => Err(Unaddressed::To),
        };
        if let Ok(Addressed { key: Some(key), .. }) = addressed
            && core.owns(key)
        {
            keys.push(key);
        }
        reads.push(Read { parsed, addressed });
    }
    // One alone has nothing to overlap with.
    if keys.len() > 1 {
        black_box(core.accounts.warm(&keys));
    }
    let mut aors: ArrayVec<AorId, BATCH_MAX> = ArrayVec::new();
    for read in &mut reads {
        if let Ok(Addressed { aor, key: Some(key), account, .. }) = &mut read.addressed
            && core.owns(*key)
        {
            *account = core.accounts.find(*key, aor.text());
            aors.extend(account.map(|account| AorId(account.0)));
        }
    }
    if aors.len() > 1 {
        black_box(core.registrar.warm(&aors));
    }
    reads
}

/// On a stream Content-Length must be there, or nobody knows where the next message begins; one
/// frame of a WebSocket is one message, as a datagram is (RFC 3261 18.3, RFC 7118 5).
fn framing(datagram: &Datagram<'_>) -> Framing {
    match datagram.transport() {
        Transport::Udp | Transport::Ws | Transport::Wss => Framing::Datagram,
        Transport::Tcp | Transport::Tls => Framing::Stream,
    }
}

/// Finds out whose bindings a message is about, from To and from nothing else.
fn address<'a>(
    core: &Core,
    message: Message<'a>,
    buffer: &'a mut [u8; AOR_BYTES_MAX],
) -> Result<Addressed<'a>, Unaddressed> {
    if message.method() != Some(Method::Register) || message.is_repeated(HeaderName::To) {
        return Err(Unaddressed::To);
    }
    let to = message.to().map_err(|_| Unaddressed::To)?;
    let aor = Aor::from_uri(&to.uri, buffer).map_err(Unaddressed::Aor)?;
    let offered = core.domains.find(aor.domain()).ok_or(Unaddressed::Domain)?.algorithms;
    let with_credentials = message.first(HeaderName::Authorization).is_some();
    let key = with_credentials.then(|| AorKey(core.ownership.hash(aor.text())));
    Ok(Addressed { to, aor, offered, key, account: None })
}
