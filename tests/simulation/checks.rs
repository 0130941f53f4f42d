//! What must hold, one named check after the other: after each datagram, after each event, at the
//! end.

use std::rc::Rc;
use std::time::Duration;

use aorta::shard::ShardId;

use crate::ask::{Ask, Asked, Meaning, Owed, Wire};
use crate::common::{Challenge, Response};
use crate::process::Outcome;
use crate::shadow::{Bound, Expected};
use crate::world::World;

/// The first answer to some bytes in one life of the process.
pub struct Answered {
    to_tag: String,
    /// What its 200 granted, if it got one.
    granted: Option<Vec<Own>>,
}

/// Contact, instance and seconds granted of a binding that a request has set.
type Own = (String, Option<String>, u32);

/// A binding ends at a whole second, so less than one after what was granted, whether or not its
/// timer has run yet.
const LINGER: Duration = Duration::from_secs(1);

/// Until then a client repeats its request (RFC 3261 17.1.2.2), and is told what it was told.
const TIMER_F: Duration = Duration::from_secs(32);

impl World {
    /// Fails, saying which rule is broken, when and under which seed.
    #[track_caller]
    pub fn check(&self, holds: bool, rule: &str, detail: impl FnOnce() -> String) {
        assert!(
            holds,
            "{rule}: {}\n(seed {}, {:.6} s)",
            detail(),
            self.seed,
            self.now.mono.as_nanos() as f64 / 1e9,
        );
    }

    /// Gives a datagram to a shard and holds what follows against the rules.
    pub fn handle(&mut self, at: usize, wire: &Wire, from_ring: bool) {
        let (bytes, meaning) = self.meanings.get_key_value(&wire.bytes).expect("sent by somebody");
        let (wire, meaning) =
            (Wire { source: wire.source, bytes: Rc::clone(bytes) }, Rc::clone(meaning));
        self.settle_expiring(&meaning);
        let outcome = self.process.give(at, self.now, &wire, from_ring);
        self.process.tally.damaged += u64::from(meaning.owed == Owed::Unknown);
        match outcome {
            Outcome::Handoff(owner) => self.hand_over(at, owner, &wire, &meaning, from_ring),
            Outcome::Silence => {
                self.process.tally.silent += 1;
                self.check(meaning.owed != Owed::Always, "one answer to each request", || {
                    format!("none to {}", String::from_utf8_lossy(&wire.bytes))
                });
            }
            Outcome::Answer { to, bytes } => {
                self.process.tally.answered += 1;
                let at_once = !from_ring && meaning.owed == Owed::Always;
                self.process.tally.answered_at_once += u64::from(at_once);
                self.check(meaning.owed != Owed::Never, "silence to what is no request", || {
                    String::from_utf8_lossy(&bytes).into_owned()
                });
                self.note(|| {
                    let text = String::from_utf8_lossy(&bytes);
                    format!("shard {at} answers {}: {}", wire.source, text.replace("\r\n", " | "))
                });
                self.note_nonces(&bytes, &wire);
                if meaning.owed == Owed::Always {
                    self.check(to == wire.source, "an answer goes where rport says", || {
                        format!("to {to}, asked from {}", wire.source)
                    });
                    let response = Response::parse(&bytes);
                    if let Some(ask) = &meaning.ask {
                        self.check_answer(ask, &meaning, &wire, &response);
                    }
                }
                self.respond(to, bytes);
            }
        }
        let rule = match &meaning.ask {
            _ if meaning.forged_in.is_some() => "an attacker changes no binding",
            _ => "the bindings are what the accepted requests made them",
        };
        self.check_bindings(rule);
    }

    /// Whatever the request was worth, a nonce in its answer is good.
    fn note_nonces(&mut self, bytes: &[u8], wire: &Wire) {
        let text = String::from_utf8_lossy(bytes);
        for challenge in text.split("\r\nWWW-Authenticate: ").skip(1) {
            let nonce = Challenge::parse(challenge.lines().next().unwrap_or_default()).nonce;
            self.shadow.handed_out(&nonce, wire.source.ip(), self.now);
        }
    }

    fn hand_over(
        &mut self,
        at: usize,
        owner: ShardId,
        wire: &Wire,
        meaning: &Meaning,
        from_ring: bool,
    ) {
        let to = usize::from(owner.0);
        self.check(!from_ring && to != at, "handed over once", || format!("{at} to {owner:?}"));
        let account = meaning.ask.as_ref().and_then(|ask| self.shadow.account_of(&ask.user));
        let home = account.map(|account| self.process.owner(account));
        self.check(home.is_none_or(|home| home == to), "handed to the owner", || {
            format!("{to} instead of {home:?}")
        });
        self.process.tally.handed_over += 1;
        self.seen.handoffs += 1;
        if self.process.push(at, owner, self.now, wire).is_err() {
            self.process.tally.shed += 1;
            self.seen.shed += 1;
        }
    }

    /// Between the end that a 200 promised and the whole second after it, a binding may be there
    /// or not: what the server sees now is what the request meets.
    fn settle_expiring(&mut self, meaning: &Meaning) {
        let Some(ask) = &meaning.ask else { return };
        let Some(account) = self.shadow.account_of(&ask.user) else { return };
        let (process, now) = (&self.process, self.now);
        self.shadow.accounts[account].bound.retain(|bound| {
            bound.until > now.mono || process.bindings(account, now).any(|is| bound.is(is))
        });
    }

    fn check_answer(&mut self, ask: &Ask, meaning: &Meaning, wire: &Wire, response: &Response) {
        let (expected, may_be_stale) = self.shadow.expect(ask, wire.source, self.now);
        let challenge = response.header("www-authenticate").map(Challenge::parse);
        let stale = challenge.as_ref().is_some_and(|challenge| challenge.stale);
        let right = ask.credentials.as_ref().is_some_and(|proof| proof.right);
        let status = response.status;
        self.check(right || status != 200, "no 200 without the password", || ask.key.clone());
        let foreign = ask
            .credentials
            .as_ref()
            .is_some_and(|proof| !self.shadow.was_given(&proof.nonce, wire.source.ip()));
        self.check(
            right || foreign || !stale,
            "stale where the digest was right or unlooked at",
            || ask.key.clone(),
        );
        self.check(status == 401 || challenge.is_none(), "only a 401 challenges", || {
            format!("{status}")
        });
        let forged = meaning.forged_in.is_some();
        let is_new = matches!(expected, Expected::Accepted(_) | Expected::Refused(_));
        if status == 401 && stale && may_be_stale {
            self.seen.stale += 1;
        } else {
            self.check_expected(ask, wire, response, stale, expected, forged);
            if is_new && status != 401 {
                self.shadow.use_count(ask);
            }
        }
        self.check_repetition(ask, wire, response);
    }

    fn check_expected(
        &mut self,
        ask: &Ask,
        wire: &Wire,
        response: &Response,
        stale: bool,
        expected: Expected,
        forged: bool,
    ) {
        let status = response.status;
        let holds = |world: &World, wanted: u16, wanted_stale: bool| {
            let rule = "each request gets what it is due";
            world.check((status, stale) == (wanted, wanted_stale), rule, || {
                let (source, proof) = (wire.source, ask.credentials.as_ref());
                let credentials = proof.map(|proof| (&proof.nonce, proof.nc, proof.right));
                format!(
                    "{} of {} from {source} with {credentials:?} got {status}, stale {stale}, not \
                     {wanted}, stale {wanted_stale}; bound are {:#?}",
                    ask.key,
                    ask.user,
                    bound_of(world, ask),
                )
            });
        };
        match expected {
            Expected::Challenge => holds(self, 401, false),
            Expected::Stale => {
                holds(self, 401, true);
                self.seen.stale += 1;
            }
            Expected::Refused(wanted) => {
                holds(self, wanted, false);
                self.shadow.refuse(ask);
                self.seen.refused += 1;
            }
            Expected::Repeat => {
                holds(self, 200, false);
                self.process.tally.repeated += 1;
                self.seen.repeated += 1;
                self.check_listed(ask, response);
            }
            Expected::Accepted(bound) => {
                holds(self, 200, false);
                self.check(!forged, "what an attacker wrote is not accepted", || ask.key.clone());
                let listed = response.contacts();
                self.shadow.accept(ask, bound, &listed, self.now);
                self.seen.accepted += 1;
                self.check_listed(ask, response);
                self.check_granted(ask, &listed);
            }
        }
    }

    /// RFC 3261 10.3 step 8: the 200 lists what is bound.
    fn check_listed(&self, ask: &Ask, response: &Response) {
        let bound = bound_of(self, ask);
        let listed = response.contacts();
        let same = listed.len() == bound.len()
            && listed.iter().zip(bound).all(|((contact, _), bound)| *contact == bound.contact);
        self.check(same, "the 200 lists what is bound", || format!("{listed:?}, not {bound:#?}"));
        for ((contact, expires), bound) in listed.iter().zip(bound) {
            let left = bound.until.saturating_since(self.now.mono).as_secs_f64();
            let is_granted = *expires == bound.granted_s;
            let is_left = (0.0..2.0).contains(&(f64::from(*expires) - left));
            let holds = match bound.age(self.now.mono) {
                _ if bound.by != ask.key => is_left,
                age if age <= TIMER_F => is_granted,
                age if age > TIMER_F + LINGER * 2 => is_left,
                _ => is_granted || is_left,
            };
            self.check(holds, "the 200 says how long", || {
                format!("{contact} for {expires} s, {left} s are left")
            });
        }
    }

    fn check_granted(&self, ask: &Ask, listed: &[(String, u32)]) {
        let Asked::List(contacts) = &ask.contacts else { return };
        for contact in contacts.iter().filter(|c| c.expires.or(ask.expires) != Some(0)) {
            let (least, most) = self.shadow.grant_bounds(contact, ask);
            let bound = bound_of(self, ask)
                .iter()
                .position(|bound| bound.contact == contact.uri && bound.by == ask.key);
            let granted = bound.map(|at| listed[at].1);
            let holds = granted.is_some_and(|granted| (least..=most).contains(&granted));
            self.check(holds, "what is granted is within its bounds", || {
                format!("{} got {granted:?} of {least} to {most}", contact.uri)
            });
        }
    }

    /// RFC 3261 8.2.7: a retransmission is answered the same, or else asked to come again.
    fn check_repetition(&mut self, ask: &Ask, wire: &Wire, response: &Response) {
        let to_tag = response.to_tag().expect("a To tag").to_owned();
        let granted = (response.status == 200).then(|| {
            let bound = bound_of(self, ask).iter().zip(response.contacts());
            let own = bound
                .filter(|(bound, _)| bound.by == ask.key && bound.age(self.now.mono) <= TIMER_F);
            own.map(|(bound, (contact, expires))| (contact, bound.instance.clone(), expires))
                .collect()
        });
        let Some(first) = self.answered.get_mut(&wire.bytes) else {
            self.answered.insert(Rc::clone(&wire.bytes), Answered { to_tag, granted });
            return;
        };
        let same_tag = first.to_tag == to_tag;
        if first.granted.is_none() {
            first.granted.clone_from(&granted);
        }
        let then = self.answered[&wire.bytes].granted.as_ref();
        self.check(same_tag, "a retransmission gets the same To tag", || ask.key.clone());
        // One of its contacts may be over by now.
        let same = granted.iter().flatten().all(|own: &Own| then.is_some_and(|t| t.contains(own)));
        self.check(same, "a retransmission gets the same expires", || {
            format!("{then:?}, then {granted:?}")
        });
    }

    /// Everything that ought to be bound is, and nothing else.
    pub fn check_bindings(&self, rule: &str) {
        for (number, account) in self.shadow.accounts.iter().enumerate() {
            let mut ought = account.bound.iter().peekable();
            let mut count = 0;
            for is in self.process.bindings(number, self.now) {
                count += 1;
                // Those whose time is just over may have gone.
                while ought.next_if(|bound| !bound.is(is) && bound.until <= self.now.mono).is_some()
                {
                }
                let here = ought.next();
                self.check(here.is_some_and(|bound| bound.is(is)), rule, || {
                    format!("u{} has {is:?}, and should have {here:?}", number + 1)
                });
                let until = here.map(|bound| bound.until).unwrap_or_default();
                self.check(until + LINGER > self.now.mono, "nothing outlives its time", || {
                    format!("u{} still has {here:?}", number + 1)
                });
            }
            let missing = ought.find(|bound| bound.until > self.now.mono);
            self.check(missing.is_none(), rule, || format!("u{} lost {missing:?}", number + 1));
            self.check(count <= self.shadow.rules.bindings_max, "the limit of bindings", || {
                format!("u{} has {count}", number + 1)
            });
        }
    }

    /// After the timers of a shard have run, nothing is kept whose time is over.
    pub fn check_cleared(&mut self, at: usize) {
        let now = self.now;
        let mut live = 0;
        for account in 0..self.shadow.accounts.len() {
            if self.process.owner(account) == at {
                live += self.process.bindings(account, now).count();
                self.shadow.accounts[account].bound.retain(|b| b.until + LINGER > now.mono);
            }
        }
        let held = self.process.held(at);
        self.check(held == live, "timers clear away what is over", || {
            format!("shard {at} holds {held}, {live} of them alive")
        });
    }

    /// The counters say what the world has seen.
    pub fn check_counters(&mut self) {
        let counters = self.process.counters();
        let tally = &self.process.tally;
        let dropped: u64 = counters.dropped.iter().sum();
        let held: usize = (0..self.process.shards.len()).map(|at| self.process.held(at)).sum();
        let left = counters.unregistered + counters.kicked + counters.expired + counters.removed;
        let ended = counters.answered.total() + counters.handoffs_out + dropped;
        let equal = |name: &str, one: u64, other: u64| {
            self.check(one == other, "the counters add up", || format!("{name}: {one}, {other}"));
        };
        equal("answers", counters.answered.total(), tally.answered);
        equal("silences", dropped, tally.silent);
        equal("handed over", counters.handoffs_out, tally.handed_over);
        equal("taken over", counters.handoffs_in, tally.taken);
        equal("datagrams", ended, tally.received + tally.taken);
        equal("bindings", counters.registered - left, held as u64);
        // Where a datagram was damaged, nobody knows whether it still was a request.
        let near = |name: &str, one: u64, other: u64| {
            let holds = one.abs_diff(other) <= tally.damaged;
            self.check(holds, "the counters add up", || format!("{name}: {one}, {other}"));
        };
        near("retransmissions", counters.retransmissions, tally.repeated);
        near("requests", counters.requests, tally.answered_at_once + tally.taken);
        let waiting = tally.handed_over - tally.shed - tally.taken;
        self.check(
            !self.process.is_idle() || waiting == self.staged(),
            "no handoff is lost",
            || format!("{waiting} under way, and no ring has them"),
        );
        self.seen.kicked = self.seen.kicked.max(counters.kicked);
        self.seen.expired = self.seen.expired.max(counters.expired);
    }

    fn staged(&self) -> u64 {
        self.process.staged.iter().sum::<usize>() as u64
    }

    /// A phone that does as it is told comes through.
    pub fn check_progress(&self, phone: usize, response: &Response, most: u32) {
        let handset = &self.phones[phone];
        let rule = "a phone that does as it is told comes through";
        let excused = !handset.honest || response.status == 503;
        self.check(excused || handset.refused_in_a_row <= most, rule, || {
            format!("phone {phone}: {} in a row, now {response:?}", handset.refused_in_a_row)
        });
    }

    /// Everybody who knows the password is registered, or full is full.
    pub fn finish(&mut self) {
        self.check_counters();
        for (number, handset) in self.phones.iter().enumerate() {
            let account = self.shadow.account_of(&handset.phone.user).expect("an account");
            let is_full =
                self.shadow.accounts[account].bound.len() >= self.shadow.rules.bindings_max;
            let excused = !self.plan.replace && is_full;
            self.check(
                handset.registered == handset.honest || (handset.honest && excused),
                "everybody who knows the password is registered in the end, and nobody else",
                || format!("phone {number} of {}", handset.phone.user),
            );
        }
    }
}

fn bound_of<'a>(world: &'a World, ask: &Ask) -> &'a [Bound] {
    world.shadow.account_of(&ask.user).map_or(&[], |account| &world.shadow.accounts[account].bound)
}
