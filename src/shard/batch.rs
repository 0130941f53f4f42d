//! A batch of datagrams, read ahead: all of them are parsed first, then what those with credentials
//! will need is fetched for all at once, and only then is each answered, in order. The answers,
//! events and counters are those of one after the other; what a batch saves is waiting, since its
//! cache misses overlap.

use std::hint::black_box;

use arrayvec::ArrayVec;

use crate::auth::accounts::{AccountId, AorKey};
use crate::auth::challenge::HeaderNames;
use crate::config::{Algorithms, Domain};
use crate::flow::Transport;
use crate::guard::Entry;
use crate::limits::{AOR_BYTES_MAX, BATCH_MAX};
use crate::registrar::AorId;
use crate::registrar::aor::{Aor, AorError};
use crate::shard::core::{Core, Shard};
use crate::shard::counters::{Counters, DropReason};
use crate::shard::ping::Ping;
use crate::shard::places::unanswerable;
use crate::shard::presented::Presented;
use crate::shard::silence::is_kept;
use crate::shard::stages::{Stage, Watch};
use crate::shard::subscribe::{is_watching, watches_all};
use crate::shard::{Datagram, Handled};
use crate::sip::header::from_to::FromTo;
use crate::sip::uri::Uri;
use crate::sip::{
    Fault, Framing, HeaderName, HeaderTable, Message, Method, ParseError, Parsed, Part, parse,
};
use crate::time::Now;

/// Where the answers of a batch go.
pub trait Outlet {
    /// Where the next answer is written: room for
    /// [`RESPONSE_BYTES_MAX`](crate::limits::RESPONSE_BYTES_MAX) bytes. It is the same, as it was
    /// left, until the message at hand is handled.
    fn room(&mut self) -> &mut [u8];

    /// What became of a datagram, each in its turn. The bytes of a [`Handled::Reply`] stand at the
    /// start of what `room` gave last.
    fn handled(&mut self, datagram: &Datagram<'_>, handled: Handled);

    /// The same, with the counters as they are now. Only who shows what becomes of messages looks
    /// at them.
    #[inline]
    fn handled_by(&mut self, counters: &mut Counters, datagram: &Datagram<'_>, handled: Handled) {
        let _ = counters;
        self.handled(datagram, handled);
    }

    /// A message that another shard received was a registration by a phone that has shown, by a
    /// digest over a nonce of its source, whose it is: what comes from there is for this shard.
    /// Said after [`Outlet::handled`], of datagrams alone.
    fn registered(&mut self, datagram: &Datagram<'_>) {
        let _ = datagram;
    }

    /// A datagram was a keepalive of a phone, and no message. Said after [`Outlet::handled`].
    fn heard(&mut self, datagram: &Datagram<'_>) {
        let _ = datagram;
    }
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

impl Shard {
    /// A batch of one. The answer, if there is one, stands at the start of `out`.
    pub fn receive(&mut self, now: Now, datagram: &Datagram<'_>, out: &mut [u8]) -> Handled {
        let mut single = Single { out, handled: Handled::Nothing };
        self.receive_batch(now, &[*datagram], &mut single);
        single.handled
    }

    /// A batch of one that another shard received.
    pub fn receive_handoff(
        &mut self,
        now: Now,
        datagram: &Datagram<'_>,
        out: &mut [u8],
    ) -> Handled {
        let mut single = Single { out, handled: Handled::Nothing };
        self.receive_handoff_batch(now, &[*datagram], &mut single);
        single.handled
    }
}

/// What reading one datagram takes of memory, made once and used again for each batch.
pub(super) struct Slot {
    table: HeaderTable,
    aor: [u8; AOR_BYTES_MAX],
    renamed: [u8; AOR_BYTES_MAX],
}

impl Slot {
    /// The slots of the longest batch.
    pub fn batch() -> Box<[Slot]> {
        let slot = || Slot {
            table: HeaderTable::new(),
            aor: [0; AOR_BYTES_MAX],
            renamed: [0; AOR_BYTES_MAX],
        };
        std::iter::repeat_with(slot).take(BATCH_MAX).collect()
    }
}

/// A datagram taken apart.
pub(super) struct Read<'a> {
    /// What the guard says to it. What is to be dropped unread is not parsed.
    pub entry: Entry,
    /// What it is if it is no message; it is not parsed then.
    pub ping: Option<Ping>,
    /// Why it is dropped unread; it is not parsed then either.
    pub dropped: Option<DropReason>,
    pub parsed: Parsed<'a>,
    /// Whose bindings it is about, if it is a REGISTER.
    pub addressed: Result<Addressed<'a>, Unaddressed>,
}

/// What the parser says of line ends alone; also of what it was not shown.
const NO_MESSAGE: Parsed<'static> = Parsed::Invalid {
    error: ParseError { part: Part::Message, fault: Fault::Empty },
    message: None,
};

/// Whose bindings a REGISTER is about.
#[derive(Clone, Copy)]
pub(super) struct Addressed<'a> {
    /// To.
    pub to: FromTo<'a>,
    /// The address-of-record that To names, in the domain's own name where To has an alias.
    pub aor: Aor<'a>,
    /// What the challenges of its domain offer.
    pub offered: Algorithms,
    /// Its hash, where the request has credentials or may do without: to others every shard
    /// answers the same.
    pub key: Option<AorKey>,
    /// Its account, if it is here and was looked for.
    pub account: Option<AccountId>,
    /// Its credentials, if they were looked at ahead.
    pub presented: Option<Presented<'a>>,
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
    entries: &[Entry],
    slots: &'a mut [Slot],
    watch: Watch<'_>,
) -> ArrayVec<Read<'a>, BATCH_MAX> {
    let mut reads = ArrayVec::new();
    let mut keys: ArrayVec<AorKey, BATCH_MAX> = ArrayVec::new();
    for ((datagram, &entry), slot) in datagrams.iter().zip(entries).zip(slots) {
        let Slot { table, aor, renamed } = slot;
        let dropped = unanswerable(&core.own, datagram);
        let ping = Ping::of(datagram);
        let parsed = match (entry, dropped, ping) {
            (Entry::Open | Entry::IfProved(_), None, None) => {
                parse(datagram.bytes, framing(datagram), table)
            }
            _ => NO_MESSAGE,
        };
        let addressed = match &parsed {
            Parsed::Complete { message, .. } => address(core, datagram, *message, aor, renamed),
            Parsed::Invalid { .. } | Parsed::Partial { .. } => Err(Unaddressed::To),
        };
        if let Ok(Addressed { key: Some(key), .. }) = addressed
            && core.owns(key)
        {
            keys.push(key);
        }
        reads.push(Read { entry, ping, dropped, parsed, addressed });
    }
    watch.lap(Stage::Parse);
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
    watch.lap(Stage::Core);
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
    datagram: &Datagram<'_>,
    message: Message<'a>,
    buffer: &'a mut [u8; AOR_BYTES_MAX],
    renamed: &'a mut [u8; AOR_BYTES_MAX],
) -> Result<Addressed<'a>, Unaddressed> {
    let is_subscribe = match message.method() {
        Some(Method::Register) => false,
        Some(Method::Subscribe) if is_watching(core, message, Method::Subscribe) => true,
        _ => return Err(Unaddressed::To),
    };
    if message.is_repeated(HeaderName::To) {
        return Err(Unaddressed::To);
    }
    let to = message.to().map_err(|_| Unaddressed::To)?;
    let (aor, domain) = canonical(core, &to.uri, buffer, renamed)?;
    let offered = domain.algorithms;
    let header = HeaderNames::of(core.auth.challenge_code).credentials;
    let is_owners = message.first(header).is_some()
        || core.asks_owners
        || is_kept(core)
        || datagram.link.is_some_and(|link| !link.peer.text().is_empty())
        || (is_subscribe && watches_all(core, datagram.source.ip()));
    let key = is_owners.then(|| AorKey(core.ownership.hash(aor.text())));
    Ok(Addressed { to, aor, offered, key, account: None, presented: None })
}

/// The address-of-record that a URI names, in the one spelling that is hashed, and its domain.
#[inline]
pub(super) fn canonical<'a, 'c>(
    core: &'c Core,
    uri: &Uri<'a>,
    buffer: &'a mut [u8; AOR_BYTES_MAX],
    renamed: &'a mut [u8; AOR_BYTES_MAX],
) -> Result<(Aor<'a>, &'c Domain), Unaddressed> {
    let parameters = core.extensions.user_parameters;
    let aor = Aor::canonical(uri, parameters, buffer).map_err(Unaddressed::Aor)?;
    let domain = core.domains.find(aor.domain()).ok_or(Unaddressed::Domain)?;
    if aor.domain() == domain.name.as_bytes() {
        return Ok((aor, domain));
    }
    let aor = aor
        .in_domain(domain.name.as_bytes(), renamed)
        .ok_or(Unaddressed::Aor(AorError::TooLong))?;
    Ok((aor, domain))
}
