//! The guard's place in a shard: what is shown to it, what it is told, and what is done upon its
//! word. Its rules are [`crate::guard`]'s.

use std::hint::black_box;
use std::net::IpAddr;
use std::time::Duration;

use arrayvec::ArrayVec;
use memchr::memmem;

use crate::auth::accounts::AorKey;
use crate::auth::challenge::HeaderNames;
use crate::auth::check::Verdict;
use crate::auth::nonce::Judged;
use crate::config;
use crate::guard::bucket::Rate;
use crate::guard::networks::{Said, Standing};
use crate::guard::{Asked, Class, Entry, Guard, Offence, SecurityKind, Silence, Told};
use crate::limits::BATCH_MAX;
use crate::nat::probe;
use crate::reg_event;
use crate::shard::batch::{Addressed, Read};
use crate::shard::core::Core;
use crate::shard::counters::DropReason;
use crate::shard::request::Arrival;
use crate::shard::suspend::{Change, SuspensionEvent};
use crate::shard::{Datagram, Shard};
use crate::sip::{HeaderName, Message, Parsed};
use crate::time::Now;

/// What the configuration says of networks, as the guard takes it.
pub(crate) fn said(networks: &[config::Network]) -> Vec<Said> {
    let one = |network: &config::Network| {
        let standing = match (network.trusted, network.blocked) {
            (_, Some(true)) => Some(Standing::Blocked),
            (Some(true), _) => Some(Standing::Trusted),
            (None, None) => None,
            // Said to be neither: a hole in what is.
            (Some(false), _) | (_, Some(false)) => Some(Standing::Served),
        };
        let limit = network.rate_per_s.map(|per_s| {
            let burst = network.burst.unwrap_or(per_s.saturating_mul(2));
            Rate::limit(Some(per_s), burst)
        });
        Said { net: network.net, standing, limit }
    };
    let said = networks.iter().map(one);
    said.filter(|said| said.standing.is_some() || said.limit.is_some()).collect()
}

impl From<Silence> for DropReason {
    fn from(silence: Silence) -> DropReason {
        match silence {
            Silence::Network => DropReason::NetworkBlocked,
            Silence::Blocked => DropReason::SourceBlocked,
            Silence::Restrained => DropReason::SourceRestrained,
            Silence::SourceRate => DropReason::SourceRate,
            Silence::PrefixRate => DropReason::PrefixRate,
            Silence::NetworkRate => DropReason::NetworkRate,
            Silence::Stranger => DropReason::OverloadStranger,
            Silence::Overload(Class::Proven) => DropReason::OverloadProven,
            Silence::Overload(Class::Known) => DropReason::OverloadKnown,
            Silence::Overload(Class::Newcomer) => DropReason::OverloadNewcomer,
        }
    }
}

impl Shard {
    /// The guard of another shard tells something.
    pub fn told(&mut self, now: Now, told: Told) {
        let guard = &mut self.core_mut().guard;
        guard.begin(now);
        guard.take(told);
    }

    /// The reactor of this shard has measured how long what it received last had waited. To be told
    /// again and again within some milliseconds while anything waits; without word, nothing does.
    pub fn waited(&mut self, now: Now, waited: Duration) {
        self.core_mut().guard.admission_mut().follow(now.mono, waited);
    }

    /// The reactor of this shard has done its work for a while, of which it slept the rest.
    pub fn worked(&mut self, busy: Duration, passed: Duration) {
        self.core_mut().worked(busy, passed);
    }

    /// A connection of `source` has come to nothing.
    pub fn came_to_nothing(&mut self, now: Now, source: IpAddr) {
        let guard = &mut self.core_mut().guard;
        guard.begin(now);
        guard.offend(source, Offence::Handshake, 0, false);
    }

    /// Who may speak at all.
    #[must_use]
    pub fn guard(&self) -> &Guard {
        &self.core().guard
    }
}

/// Whether there may be a nonce in a message that nobody has read yet. Spelled otherwise than
/// everybody spells it, it proves nothing: that costs a place within the limit, and only where
/// somebody is over it.
pub(super) fn may_carry_nonce(bytes: &[u8]) -> bool {
    memmem::find(bytes, b"nonce").is_some()
}

/// Whether a message is a response, by its first bytes; line ends may come before it.
fn is_response(bytes: &[u8]) -> bool {
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    start.is_some_and(|start| bytes[start..].starts_with(b"SIP/"))
}

/// Whether there may be a branch of this server in a response that nobody has read yet. It stands
/// in the top Via (RFC 3261 18.1.2), which is near the beginning.
fn may_be_due(bytes: &[u8]) -> bool {
    const LOOKED_AT: usize = 2048;
    const PREFIXES: [&[u8]; 3] =
        [probe::PROBE_PREFIX, probe::KEEPALIVE_PREFIX, reg_event::identity::PREFIX];
    let head = &bytes[..bytes.len().min(LOOKED_AT)];
    memmem::find_iter(head, b"z9hG4bK-")
        .any(|at| PREFIXES.iter().any(|prefix| head[at..].starts_with(prefix)))
}

impl Core {
    /// What the guard says to each datagram of a batch. Another shard's guard has seen those it
    /// handed over.
    #[inline]
    pub fn admit(
        &mut self,
        datagrams: &[Datagram<'_>],
        handed_over: bool,
    ) -> ArrayVec<Entry, BATCH_MAX> {
        if handed_over {
            return datagrams.iter().map(|_| Entry::Open).collect();
        }
        if datagrams.len() > 1 {
            let warm = |sum: u64, one: &Datagram<'_>| sum ^ self.guard.warm(one.source.ip());
            black_box(datagrams.iter().fold(0, warm));
        }
        datagrams.iter().map(|datagram| self.admit_one(datagram)).collect()
    }

    #[inline]
    fn admit_one(&mut self, datagram: &Datagram<'_>) -> Entry {
        let source = datagram.source.ip();
        let asked = Asked::of(datagram.bytes);
        match self.guard.admit(source, asked) {
            Entry::IfProved(silence) => self.ask_for_proof(datagram, silence),
            // Keepalives are swallowed unread.
            Entry::Open if asked == Asked::Nothing && is_response(datagram.bytes) => {
                self.admit_response(datagram)
            }
            decided => decided,
        }
    }

    /// A response: dropped unread where more come than can be due.
    fn admit_response(&mut self, datagram: &Datagram<'_>) -> Entry {
        let source = datagram.source.ip();
        let silence = match self.guard.admit_response(source) {
            Entry::IfProved(silence) if !may_be_due(datagram.bytes) => silence,
            Entry::Silent(silence) => silence,
            Entry::Open | Entry::IfProved(_) => return Entry::Open,
        };
        if datagram.link.is_some_and(|link| link.authenticated) {
            return Entry::Open;
        }
        self.guard.refused(source);
        Entry::Silent(silence)
    }

    /// A request over a limit: it is read only if there may be a proof in it.
    #[cold]
    fn ask_for_proof(&mut self, datagram: &Datagram<'_>, silence: Silence) -> Entry {
        let source = datagram.source.ip();
        let unproved = match datagram.link {
            Some(link) if link.authenticated => {
                if self.guard.admit_proof(source) {
                    return Entry::Open;
                }
                true
            }
            _ => !may_carry_nonce(datagram.bytes),
        };
        if unproved {
            self.guard.refused(source);
            return Entry::Silent(silence);
        }
        Entry::IfProved(silence)
    }

    /// Drops a message of which nothing was read.
    #[cold]
    pub fn drop_unread(&mut self, datagram: &Datagram<'_>, silence: Silence) {
        self.counters.drop(silence.into());
        if silence == Silence::Network {
            self.guard.excluded(datagram.source.ip());
        }
        if let (Some(link), Silence::Network | Silence::Blocked) = (datagram.link, silence) {
            self.flows.shut(link.id);
        }
    }

    /// What is looked at once a message is read: whether it proves what it has to, and whether it
    /// looks like a scanner's.
    ///
    /// # Errors
    /// Why it is dropped without an answer.
    #[inline]
    pub fn screen(&mut self, arrival: &Arrival<'_>, read: &Read<'_>) -> Result<(), DropReason> {
        if arrival.handed_over {
            return Ok(());
        }
        if let Entry::IfProved(silence) = read.entry {
            self.demand_proof(arrival, read, silence)?;
        }
        match read.parsed {
            Parsed::Complete { message, .. } if message.method().is_some() => {
                self.look_for_scanners(arrival, message, read)
            }
            _ => Ok(()),
        }
    }

    #[cold]
    fn demand_proof(
        &mut self,
        arrival: &Arrival<'_>,
        read: &Read<'_>,
        silence: Silence,
    ) -> Result<(), DropReason> {
        let source = arrival.datagram.source.ip();
        let proves = match (&read.parsed, &read.addressed) {
            (Parsed::Complete { message, .. }, Ok(addressed)) => {
                self.carries_proof(arrival, *message, addressed)
            }
            _ => false,
        };
        if proves && self.guard.admit_proof(source) {
            return Ok(());
        }
        self.guard.refused(source);
        Err(silence.into())
    }

    /// Whether a message carries a nonce that was given to its source, of whatever age: nobody
    /// else can have read it.
    fn carries_proof(
        &self,
        arrival: &Arrival<'_>,
        message: Message<'_>,
        addressed: &Addressed<'_>,
    ) -> bool {
        self.judge_nonce(arrival, message, addressed).session().is_some()
    }

    /// What the nonce of a message is worth to its source; without one, as much as one of somebody
    /// else.
    pub fn judge_nonce(
        &self,
        arrival: &Arrival<'_>,
        message: Message<'_>,
        addressed: &Addressed<'_>,
    ) -> Judged {
        if let Some(presented) = &addressed.presented {
            return presented.nonce;
        }
        let names = HeaderNames::of(self.auth.challenge_code);
        let realm = addressed.aor.domain();
        let Ok(Some(credentials)) = message.credentials(names.credentials, realm) else {
            return Judged::Foreign;
        };
        let (source, lifetime_s) = (arrival.datagram.source.ip(), self.auth.nonce_lifetime_s);
        self.keys.nonce.judge(credentials.nonce, arrival.now.wall, source, realm, lifetime_s)
    }

    #[inline]
    fn look_for_scanners(
        &mut self,
        arrival: &Arrival<'_>,
        message: Message<'_>,
        read: &Read<'_>,
    ) -> Result<(), DropReason> {
        let agent = message.first(HeaderName::UserAgent).unwrap_or_default();
        if self.guard.is_scanner(agent) {
            return self.meet_scanner(arrival, message, read);
        }
        let names = HeaderNames::of(self.auth.challenge_code);
        if message.first(names.credentials).is_none() {
            return self.look_at_stranger(arrival, message, read);
        }
        Ok(())
    }

    /// A request without credentials: it may be of a kit that calls itself nothing.
    fn look_at_stranger(
        &mut self,
        arrival: &Arrival<'_>,
        message: Message<'_>,
        read: &Read<'_>,
    ) -> Result<(), DropReason> {
        let named = [HeaderName::From, HeaderName::To, HeaderName::CallId];
        let mut values = named.into_iter().filter_map(|name| message.first(name));
        let source = arrival.datagram.source.ip();
        if values.any(|value| self.guard.has_scanner_pattern(value))
            && !self.guard.is_proven(source)
        {
            return self.meet_scanner(arrival, message, read);
        }
        let user = match &read.addressed {
            Ok(addressed) => addressed.to.uri.user,
            Err(_) => message.to().ok().and_then(|to| to.uri.user),
        };
        if user.is_some_and(|user| self.guard.step(source, user)) {
            // A row of honest phones is no other: it is answered, over connections too, where what
            // is dropped is not sent again. Whether an account exists must not show here either.
            let restrained = self.guard.is_restrained(source);
            self.guard.offend(source, Offence::Walk, 0, true);
            if restrained {
                return Err(DropReason::Scanner);
            }
        }
        Ok(())
    }

    #[cold]
    fn meet_scanner(
        &mut self,
        arrival: &Arrival<'_>,
        message: Message<'_>,
        read: &Read<'_>,
    ) -> Result<(), DropReason> {
        let datagram = arrival.datagram;
        let source = datagram.source.ip();
        if self.guard.is_trusted(source) {
            return Ok(());
        }
        let agent = message.first(HeaderName::UserAgent).unwrap_or_default();
        self.guard.record(SecurityKind::Scanner, source, b"", agent);
        self.note_refused(arrival, message, b"", SecurityKind::Scanner.name());
        let proves = datagram.link.is_some()
            || read
                .addressed
                .as_ref()
                .is_ok_and(|addressed| self.carries_proof(arrival, message, addressed));
        self.guard.offend(source, Offence::Scanner, 0, !proves);
        if let Some(link) = datagram.link {
            self.flows.shut(link.id);
        }
        Err(DropReason::Scanner)
    }

    /// Tells the guard what credentials were worth. A wrong answer is one to a nonce that was given
    /// to this very source.
    #[inline]
    pub fn tell_verdict(
        &mut self,
        arrival: &Arrival<'_>,
        message: Message<'_>,
        aor: (AorKey, &[u8]),
        verdict: Verdict,
    ) {
        let source = arrival.datagram.source.ip();
        match verdict {
            Verdict::Accepted => self.guard.proved(source, aor.0.0),
            Verdict::Wrong => {
                self.alert_on_failure(arrival, message, aor);
                self.tell_failure(arrival, message, aor, Offence::WrongPassword);
            }
            Verdict::UnknownAccount => {
                self.tell_failure(arrival, message, aor, Offence::UnknownAccount);
            }
            Verdict::AccountMismatch => self.tell_mismatch(arrival, message, aor.1),
            _ => {}
        }
    }

    #[cold]
    fn tell_failure(
        &mut self,
        arrival: &Arrival<'_>,
        message: Message<'_>,
        (AorKey(account), aor): (AorKey, &[u8]),
        offence: Offence,
    ) {
        let source = arrival.datagram.source.ip();
        let kind = match offence {
            Offence::UnknownAccount => SecurityKind::UnknownAccount,
            _ => SecurityKind::BadPassword,
        };
        let agent = message.first(HeaderName::UserAgent).unwrap_or_default();
        self.guard.record(kind, source, aor, agent);
        self.note_refused(arrival, message, aor, kind.name());
        self.guard.offend(source, offence, account, false);
    }

    /// A list of networks excludes the source of a request for an account.
    #[cold]
    pub fn tell_excluded(&mut self, arrival: &Arrival<'_>, message: Message<'_>, aor: &[u8]) {
        let agent = message.first(HeaderName::UserAgent).unwrap_or_default();
        self.guard.record(SecurityKind::Acl, arrival.datagram.source.ip(), aor, agent);
        self.note_refused(arrival, message, aor, SecurityKind::Acl.name());
    }

    /// A request is not heard, and it is about an account: there is none, or a list of networks
    /// excludes the source.
    #[cold]
    pub fn tell_unheard(
        &mut self,
        arrival: &Arrival<'_>,
        message: Message<'_>,
        addressed: &Addressed<'_>,
    ) {
        let aor = addressed.aor.text();
        if addressed.account.is_some() {
            return self.tell_excluded(arrival, message, aor);
        }
        let agent = message.first(HeaderName::UserAgent).unwrap_or_default();
        let source = arrival.datagram.source.ip();
        self.guard.record(SecurityKind::UnknownAccount, source, aor, agent);
        self.note_refused(arrival, message, aor, SecurityKind::UnknownAccount.name());
    }

    /// Credentials of one account came for another's address-of-record.
    #[cold]
    pub fn tell_mismatch(&mut self, arrival: &Arrival<'_>, message: Message<'_>, aor: &[u8]) {
        let source = arrival.datagram.source.ip();
        let agent = message.first(HeaderName::UserAgent).unwrap_or_default();
        self.guard.record(SecurityKind::AccountMismatch, source, aor, agent);
        self.note_refused(arrival, message, aor, SecurityKind::AccountMismatch.name());
        // Decided before the nonce was looked at.
        let fakeable = arrival.datagram.link.is_none();
        self.guard.offend(source, Offence::AccountMismatch, 0, fakeable);
    }

    /// Something broken came.
    #[cold]
    pub fn tell_malformed(&mut self, arrival: &Arrival<'_>) {
        let fakeable = arrival.datagram.link.is_none();
        self.guard.offend(arrival.datagram.source.ip(), Offence::Malformed, 0, fakeable);
    }

    /// Lists the suspensions that ended in the call at hand.
    pub fn list_suspension_events(&mut self) {
        for SuspensionEvent { aor, source, change, .. } in &self.suspension_events {
            if let Change::Ended(_) = change {
                let aor = aor.as_ref().map_or(&b""[..], |aor| aor);
                self.guard.record(SecurityKind::Unsuspended, *source, aor, b"");
            }
        }
    }
}
