//! The guard of one shard: every request is shown to it before it is read, and what became of
//! requests is told to it. It decides by what it has been told; what it says to the guards of
//! other shards waits in it until it is fetched.

use std::hash::Hasher;
use std::net::IpAddr;

use siphasher::sip::SipHasher24;

use self::shedding::time_of_strangers;
use super::address::Addresses;
use super::admission::{Admission, Class};
use super::blacklist::{Blacklist, NewBlock, Standing as Block};
use super::bucket::Rate;
use super::budget::{Limits, Untold};
use super::events::SecurityKind;
use super::journal::Journal;
use super::networks::{Networks, Rule, Said, Standing};
use super::patterns::Patterns;
use super::scanner::Words;
use super::score::{Offence, Points, Reached, Scores, Surety};
use super::sources::{Met, Moment, Sources};
use super::strangers::Strangers;
use super::told::{Telling, To, Told, until};
use super::vouches::Vouches;
use crate::config;
use crate::time::{Instant, Now, UnixTime};

/// What a message asks, as far as its first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A registration.
    Register,
    /// Any other request, or nothing that could be told.
    Request,
    /// It is a response, or a keepalive that is not answered and costs no more than to look at
    /// its first bytes. Responses have a limit of their own ([`Guard::admit_response`]).
    Nothing,
}

impl Asked {
    /// What the message that begins with these bytes asks. Methods are case-sensitive (RFC 3261
    /// 7.1); line ends may come before it (RFC 3261 7.5). STUN is a request like any other.
    #[inline]
    #[must_use]
    pub fn of(bytes: &[u8]) -> Asked {
        let begins = |bytes: &[u8]| match bytes {
            [b'R', b'E', b'G', b'I', b'S', b'T', b'E', b'R', b' ', ..] => Asked::Register,
            [b'S', b'I', b'P', b'/', ..] => Asked::Nothing,
            _ => Asked::Request,
        };
        match bytes {
            [b'\r' | b'\n', ..] => {
                let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
                start.map_or(Asked::Nothing, |start| begins(&bytes[start..]))
            }
            _ if bytes.len() <= KEEPALIVE_BYTES_MAX => Asked::Nothing,
            _ => begins(bytes),
        }
    }
}

/// What the guard says to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// It may be read and answered.
    Open,
    /// It may be read, and answered only if it carries a nonce bound to its source
    /// ([`Guard::admit_proof`]) or came over a connection that is authenticated.
    IfProved(Silence),
    /// It is dropped unread.
    Silent(Silence),
}

/// Why a message is dropped without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Its network is not served.
    Network,
    /// Its source is blocked whole.
    Blocked,
    /// Its source is restrained.
    Restrained,
    /// Its source is over its limit.
    SourceRate,
    /// The unproven sources of its /24 or /64 are over theirs.
    PrefixRate,
    /// The network it is in is over its own limit.
    NetworkRate,
    /// Strangers take more time than they may.
    Stranger,
    /// More comes than can be answered, and it has shown no more than this.
    Overload(Class),
}

/// Nothing this short is a message.
const KEEPALIVE_BYTES_MAX: usize = 4;
/// A restrained source may ask for a challenge now and then, so that whoever's name was abused can
/// prove himself.
const RESTRAINED: Rate = Rate { per_s: 1, burst: 2 };
/// One in so many messages over a limit is listed; all are counted.
const LISTED_EVERY: u64 = 64;

/// The guard.
pub struct Guard {
    pub(super) id: u8,
    shards: u8,
    config: config::Guard,
    pub(super) addresses: Addresses,
    networks: Networks,
    sources: Sources,
    /// Of the accounts of this shard.
    vouches: Vouches,
    scores: Scores,
    blacklist: Blacklist,
    agents: Words,
    patterns: Words,
    journal: Journal,
    pub(super) alerts: Patterns,
    pub(super) telling: Telling,
    admission: Admission,
    strangers: Strangers,
    /// From where some account is let in without a digest.
    let_in_from: Networks,
    /// Messages of networks that are not served.
    excluded: u64,
    /// No limits are set and no network has one.
    unlimited: bool,
    /// Nor is anybody ever blocked for what he did, or a stranger: nobody need prove himself.
    indifferent: bool,
    pub(super) now: Instant,
    pub(super) moment: Moment,
    wall: UnixTime,
}

impl Guard {
    /// The guard of shard `id` of `shards`. `key` is secret and the same on all of them; `networks`
    /// is what is said beside `config.trusted` and `config.blocked`.
    #[must_use]
    pub fn new(
        key: &[u8; 16],
        (id, shards): (u8, u8),
        config: &config::Guard,
        networks: &[Said],
    ) -> Guard {
        let sources_max = config.sources_max as usize;
        let limits = limits(config, shards);
        let mut seed = SipHasher24::new_with_key(key);
        seed.write(b"draws");
        seed.write_u8(id);
        let mut guard = Guard {
            id,
            shards,
            config: config.clone(),
            addresses: Addresses::new(key),
            networks: Networks::default(),
            sources: Sources::new(sources_max, limits, config.prefix_factor, shards),
            vouches: Vouches::new(sources_max),
            scores: Scores::new((sources_max / 4).max(1024), config.block_score),
            blacklist: Blacklist::default(),
            agents: Words::new(&config.scanners),
            patterns: Words::new(&config.scanner_patterns),
            journal: Journal::default(),
            alerts: Patterns::new(&config.alerts),
            telling: Telling::default(),
            admission: Admission::new(config.overload, seed.finish()),
            strangers: Strangers::new(time_of_strangers(config)),
            let_in_from: Networks::default(),
            excluded: 0,
            unlimited: false,
            indifferent: false,
            now: Instant::ZERO,
            moment: Moment::default(),
            wall: UnixTime::default(),
        };
        guard.configure(config, networks);
        guard
    }

    /// Other settings from now on. Who is blocked stays so, what was spent stays spent; the sizes
    /// of tables are those of the start.
    pub fn configure(&mut self, config: &config::Guard, networks: &[Said]) {
        self.config = config.clone();
        self.networks = Networks::configured(config, networks);
        let shards = self.shards;
        let own =
            self.networks.limits().iter().map(|&limit| Limits::new(limit, Rate::NONE, shards));
        self.sources.configure(self.moment, limits(config, shards), config.prefix_factor, own);
        self.scores.configure(config.block_score);
        self.admission.configure(config.overload);
        self.strangers.configure(time_of_strangers(config));
        self.agents = Words::new(&config.scanners);
        self.patterns = Words::new(&config.scanner_patterns);
        self.alerts.configure(&config.alerts);
        self.unlimited = config.rate_per_s.is_none()
            && config.register_rate_per_s.is_none()
            && self.networks.limits().is_empty();
        self.indifferent = self.unlimited && !config.blacklist && time_of_strangers(config) >= 100;
    }

    /// The time of what follows; once a batch.
    #[inline]
    pub fn begin(&mut self, now: Now) {
        self.now = now.mono;
        self.wall = now.wall;
        self.moment = Moment::of(now.mono);
        self.admission.begin(now.mono);
        if self.blacklist.next_end().is_some_and(|end| end <= now.mono) {
            let memory_s = self.config.block_time_max_s;
            self.blacklist.expire(now.mono, &self.addresses, memory_s);
        }
    }

    /// Whether a message from `source` may be read.
    #[inline]
    pub fn admit(&mut self, source: IpAddr, asked: Asked) -> Entry {
        let source = source.to_canonical();
        let Rule { standing, limit } = self.networks.of(source);
        match standing {
            Standing::Trusted => return Entry::Open,
            Standing::Blocked => return Entry::Silent(Silence::Network),
            Standing::Served => {}
        }
        if source.is_loopback() && !self.config.loopback {
            return Entry::Open;
        }
        if !self.blacklist.is_empty() {
            match self.blacklist.standing(self.now, &self.addresses, source) {
                Block::Free => {}
                Block::Blocked => return Entry::Silent(Silence::Blocked),
                Block::Restrained => return self.admit_restrained(source, asked),
            }
        }
        if self.unlimited || asked == Asked::Nothing {
            return Entry::Open;
        }
        let Guard { sources, addresses, telling, moment, .. } = self;
        let register = asked == Asked::Register;
        let met = sources.spend(*moment, addresses, source, limit, register, &mut |told| {
            telling.say(To::Others, told);
        });
        let silence = match met {
            Met::Room => return Entry::Open,
            Met::SourceLimit => Silence::SourceRate,
            Met::PrefixLimit => Silence::PrefixRate,
            Met::NetworkLimit => Silence::NetworkRate,
        };
        Entry::IfProved(silence)
    }

    /// Whether a response from `source` may be read, which [`Guard::admit`] has let in. As many are
    /// due as requests were sent, so they cost a tenth of a request. Over the limit, what looks
    /// like an answer to a request of this server is read all the same ([`Entry::IfProved`]):
    /// whoever forges an address makes nobody unreachable who is asked there.
    pub fn admit_response(&mut self, source: IpAddr) -> Entry {
        let source = source.to_canonical();
        if self.unlimited || self.is_exempt(source) {
            return Entry::Open;
        }
        let network = self.networks.of(source).limit;
        let Guard { sources, addresses, moment, .. } = self;
        let silence = match sources.spend_response(*moment, addresses, source, network) {
            Met::Room => return Entry::Open,
            Met::SourceLimit => Silence::SourceRate,
            Met::PrefixLimit => Silence::PrefixRate,
            Met::NetworkLimit => Silence::NetworkRate,
        };
        Entry::IfProved(silence)
    }

    #[cold]
    fn admit_restrained(&mut self, source: IpAddr, asked: Asked) -> Entry {
        let Guard { sources, addresses, moment, .. } = self;
        match asked {
            Asked::Nothing => Entry::Open,
            Asked::Register if sources.spend_little(*moment, addresses, source, RESTRAINED) => {
                Entry::Open
            }
            _ => Entry::IfProved(Silence::Restrained),
        }
    }

    /// A request over a limit has shown a nonce that was given to its source, or its connection is
    /// authenticated. Whether it may be answered: such requests have a budget of their own, which
    /// nobody else can drain.
    pub fn admit_proof(&mut self, source: IpAddr) -> bool {
        let Guard { sources, addresses, telling, moment, .. } = self;
        sources.spend_proof(*moment, addresses, source.to_canonical(), &mut |told| {
            telling.say(To::Others, told);
        })
    }

    /// A message was dropped for want of room or proof.
    #[cold]
    pub fn refused(&mut self, source: IpAddr) {
        self.journal.count(SecurityKind::RateLimited);
        if self.journal.counted(SecurityKind::RateLimited) % LISTED_EVERY == 1 {
            // It is counted already.
            self.journal.list(self.wall, SecurityKind::RateLimited, source, b"", b"");
        }
    }

    /// A message was dropped since its network is not served.
    #[cold]
    pub fn excluded(&mut self, source: IpAddr) {
        self.journal.count(SecurityKind::Acl);
        if self.excluded.is_multiple_of(LISTED_EVERY) {
            self.journal.list(self.wall, SecurityKind::Acl, source, b"", b"");
        }
        self.excluded += 1;
    }

    /// Whether limits, scores and blocks do not hold for `source`.
    #[must_use]
    pub fn is_exempt(&self, source: IpAddr) -> bool {
        self.is_trusted(source) || (source.to_canonical().is_loopback() && !self.config.loopback)
    }

    /// Whether `source` is of a trusted network.
    #[inline]
    #[must_use]
    pub fn is_trusted(&self, source: IpAddr) -> bool {
        !self.networks.is_empty() && self.networks.of(source).standing == Standing::Trusted
    }

    /// Whether a User-Agent is a scanner's.
    #[inline]
    #[must_use]
    pub fn is_scanner(&self, user_agent: &[u8]) -> bool {
        self.agents.are_in(user_agent)
    }

    /// Whether To, From or Call-ID is a scanner's.
    #[inline]
    #[must_use]
    pub fn has_scanner_pattern(&self, value: &[u8]) -> bool {
        self.patterns.are_in(value)
    }

    /// Whether some account has proved itself from `source` lately.
    #[inline]
    #[must_use]
    pub fn is_proven(&self, source: IpAddr) -> bool {
        self.sources.is_proven(&self.addresses, source.to_canonical())
    }

    /// About how many accounts have done so, in all of its /64 where it is of IPv6.
    #[must_use]
    pub fn proven_accounts(&self, source: IpAddr) -> u16 {
        self.sources.accounts(&self.addresses, source.to_canonical())
    }

    /// Takes the user that a request without credentials asks for. Returns whether its source,
    /// from which nobody has proved himself, walks through numbers.
    pub fn step(&mut self, source: IpAddr, user: &[u8]) -> bool {
        let source = source.to_canonical();
        self.meet(source);
        let walks = self.sources.step(&self.addresses, source, user);
        if walks {
            // One record, whatever numbers it goes through.
            self.journal.record(self.wall, SecurityKind::Walk, source, b"", b"");
        }
        walks
    }

    /// Where limits are off, what a source does is remembered all the same if it can be blocked.
    #[inline]
    fn meet(&mut self, source: IpAddr) {
        if self.unlimited && !self.indifferent && !self.is_exempt(source) {
            self.sources.meet(self.moment, &self.addresses, source);
        }
    }

    /// Lists what all shards do alike, on one of them.
    fn record_at_home(&mut self, kind: SecurityKind, source: IpAddr) {
        if self.addresses.home(source, self.shards) == self.id {
            self.journal.record(self.wall, kind, source, b"", b"");
        }
    }

    /// `source` has done something, on the account of this keyed hash (0: on none). `fakeable`
    /// says that anybody could have sent it in its name.
    pub fn offend(&mut self, source: IpAddr, offence: Offence, account: u64, fakeable: bool) {
        let source = source.to_canonical();
        if !self.config.blacklist || self.is_exempt(source) {
            return;
        }
        let points = offence.points(fakeable);
        let points = if fakeable {
            // Nobody's customer is made suspect by what others send in his name.
            if self.is_proven(source) {
                return;
            }
            self.meet(source);
            let Some(points) = self.sources.add_faked(&self.addresses, source, points) else {
                return;
            };
            points
        } else {
            points.into()
        };
        let surety = Surety::of(offence, fakeable);
        let home = self.addresses.home(source, self.shards);
        if home == self.id {
            self.judge(source, Points { points, account, surety });
        } else {
            let told = Told::Offended { source, points, account, surety };
            self.telling.say(To::Shard(home), told);
        }
    }

    /// Adds to the score of a source whose home this is.
    fn judge(&mut self, source: IpAddr, points: Points) {
        let Guard { sources, scores, blacklist, addresses, config, .. } = self;
        let culprit = super::address::culprit(source);
        let accounts = sources.accounts(addresses, source);
        let tick = self.moment.tick;
        let whole = match scores.add(tick, addresses, culprit, points, accounts) {
            Reached::Nothing => {
                if accounts > 0 && scores.announce(tick, addresses, culprit) {
                    sources.suspect(addresses, culprit, true);
                    self.telling.say(To::Others, Told::Suspected { source: culprit });
                }
                return;
            }
            Reached::Restraint => false,
            Reached::Block => true,
        };
        let (first_s, longest_s) = (config.block_time_s, config.block_time_max_s);
        let (for_s, times) = blacklist.next_block(addresses, culprit, first_s, longest_s);
        // Only blocks are counted.
        let (for_s, times) = if whole { (for_s, times) } else { (first_s, times - 1) };
        let until = until(self.now, for_s);
        let (now, by_operator) = (self.now, false);
        let block = NewBlock { now, until: Some(until), whole, by_operator, times };
        if blacklist.block(addresses, culprit, block) {
            if whole {
                scores.reset(addresses, culprit);
            } else {
                sources.suspect(addresses, culprit, true);
            }
            self.telling.say(To::Others, Told::Blocked { source: culprit, until, whole, times });
            let kind = if whole { SecurityKind::Blocked } else { SecurityKind::Restrained };
            self.journal.record(self.wall, kind, culprit, b"", b"");
            self.note_pushed_out();
        }
    }

    /// Takes what the guard of another shard tells.
    pub fn take(&mut self, told: Told) {
        let Guard { sources, blacklist, addresses, moment, .. } = self;
        match told {
            Told::Spent { source, scope, requests, registers, proofs } => {
                let network = self.networks.of(source).limit;
                let untold = Untold { requests, registers, proofs };
                sources.charge(*moment, addresses, source, network, (scope, untold));
            }
            Told::Proved { source, account, new } => self.take_proof(source, (account, new)),
            Told::Unvouched { source } => sources.unvouch(addresses, source),
            Told::Offended { source, points, account, surety } => {
                self.judge(source, Points { points, account, surety });
            }
            Told::Suspected { source } => sources.suspect(addresses, source, true),
            Told::Absolved { source } => self.absolve(source),
            Told::Lifted { source } => _ = blacklist.lift(addresses, source, true),
            Told::Suspended { source, account } => self.take_suspension(source, account),
            Told::Blocked { source, until, whole, times } => {
                let (now, by_operator) = (self.now, false);
                let block = NewBlock { now, until: Some(until), whole, by_operator, times };
                if blacklist.block(addresses, source, block) && !whole {
                    sources.suspect(addresses, source, true);
                }
                self.note_pushed_out();
            }
        }
    }

    /// The next thing to be carried to other shards.
    #[inline]
    pub fn poll_told(&mut self) -> Option<(To, Told)> {
        self.telling.take()
    }

    /// What was not told because too much was waiting.
    #[must_use]
    pub fn untold(&self) -> u64 {
        self.telling.unsaid
    }

    /// Lists a security event.
    pub fn record(&mut self, kind: SecurityKind, source: IpAddr, account: &[u8], agent: &[u8]) {
        self.journal.record(self.wall, kind, source, account, agent);
    }

    /// Counts a security event that is not worth listing each time.
    #[inline]
    pub fn count(&mut self, kind: SecurityKind) {
        self.journal.count(kind);
    }

    /// The security events.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Touches what the request of a source will need, so that the misses of a batch overlap.
    #[inline]
    #[must_use]
    pub fn warm(&self, source: IpAddr) -> u64 {
        let source = source.to_canonical();
        if self.unlimited || (source.is_loopback() && !self.config.loopback) {
            return 0;
        }
        self.sources.warm(&self.addresses, source)
    }
}

fn limits(config: &config::Guard, shards: u8) -> Limits {
    let requests = Rate::limit(config.rate_per_s, config.burst);
    let registers = Rate::limit(config.register_rate_per_s, config.register_burst);
    Limits::new(requests, registers, shards)
}

mod blocks;
#[cfg(test)]
mod proof_tests;
mod proofs;
mod shedding;
#[cfg(test)]
mod tests;
